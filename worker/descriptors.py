"""Moves the pipe out of reach of every library, before any of them is imported.

Whatever a native library or a grandchild prints or reads can then never touch the packets:
descriptor 0 is the null device, 1 is stderr, and the pipe lives above 2, closed on exec.
"""

import contextlib
import os
import socket
import stat
import sys
from dataclasses import dataclass

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PIPE_BYTES = 1 << 20
"""What a pipe or a socket buffer is enlarged to. Reading 1.2 MB packets through asyncio's stream
reader gives 1.6 GB/s, `readv` from a pipe of this size 3.9 GB/s (2 cores)."""

_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ, which is missing where it does not exist


@dataclass(frozen=True, slots=True)
class Descriptors:
    """The two ends that packets go through."""

    reader: int
    """Requests; read with blocking semantics left as the host set them."""
    writer: int
    """Responses."""


def protect(fd_in: int = 0, fd_out: int = 1) -> Descriptors:
    """Move the pipe's ends above 2 and point 0 and 1 at harmless places.

    Raises:
        OSError: `fd_in` or `fd_out` is not an open descriptor.
    """
    _fill_closed_standard_descriptors()
    moved = Descriptors(_move_up(fd_in), _move_up(fd_out))
    null = os.open(os.devnull, os.O_RDWR)
    if sys.platform != "win32" and os.path.sameopenfile(moved.writer, 2):
        os.dup2(null, 2)  # stderr is the pipe itself (2>&1): logs there would break the framing
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    for original in {fd_in, fd_out} - {0, 1, 2}:
        os.close(original)
    return moved


def _move_up(descriptor: int) -> int:
    """Return a duplicate above 2 that no child process inherits."""
    if sys.platform == "win32":  # untested
        moved = os.dup(descriptor)
        msvcrt.setmode(moved, os.O_BINARY)
        return moved
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 3)


def allow_more(wanted: int) -> None:
    """Raise the limit of open descriptors as far as the system allows: each region has one."""
    if sys.platform == "win32":
        return
    import resource  # noqa: PLC0415 - Windows has none

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def enlarge(descriptor: int) -> None:
    """Give a pipe or a socket a larger buffer, as far as the system allows."""
    mode = os.fstat(descriptor).st_mode
    with contextlib.suppress(OSError):
        if stat.S_ISFIFO(mode) and sys.platform != "win32":
            fcntl.fcntl(descriptor, _F_SETPIPE_SZ, PIPE_BYTES)
        elif stat.S_ISSOCK(mode):
            with socket.socket(fileno=os.dup(descriptor)) as end:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIPE_BYTES)
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, PIPE_BYTES)


def is_pollable(descriptor: int) -> bool:
    """Tell whether an event loop can watch a descriptor: pipes and sockets, but not files."""
    mode = os.fstat(descriptor).st_mode
    return os.name == "posix" and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _fill_closed_standard_descriptors() -> None:
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
