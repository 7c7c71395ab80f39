"""What the machine, or the container, leaves to the worker."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from runtimes.cores import available_cores
from worker.cli.checks import Check, absent, bad, good
from worker.config import parse_worker

_MEBI = 1 << 20
_GIBI = 1 << 30
_LEAST_MEMORY = 512 * _MEBI
_LEAST_SHARED = 64 * _MEBI
"""What Docker gives a container that asks for nothing: a few pictures of 4K."""
_LEAST_FILES = 256
_WANTED_PIPE = _MEBI
"""Bytes; what the worker enlarges its pipes to."""


def machine() -> list[Check]:
    """Return a line for each limit that matters."""
    return [check for probe in _PROBES if (check := probe()) is not None]


def _cores() -> Check:
    usable, there = available_cores(), os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    limits = {
        f"{there} in the machine": there > allowed,
        f"{allowed} by affinity": there > allowed,
        "fewer by the container's CPU quota": allowed > usable,
    }
    text = "; ".join([f"{usable} to use", *(text for text, holds in limits.items() if holds)])
    return good("cores", text)


def _memory() -> Check:
    cache = parse_worker({}, 3)[0].limits.frame_cache_bytes
    allowed = cache * 4  # frameCacheBytes is a quarter of it by default
    text = f"{allowed / _GIBI:.1f} GiB allowed; {cache / _GIBI:.1f} of them for cached frames"
    if allowed < _LEAST_MEMORY:
        return bad("memory", text, "give the container more, or set limits.frameCacheBytes")
    return good("memory", text)


def _shared_memory() -> Check | None:
    try:
        size = shutil.disk_usage("/dev/shm").total  # noqa: S108 - measured, not written to
    except OSError:  # not on this system
        return None
    if size < _LEAST_SHARED:
        return absent("/dev/shm", f"{size // _MEBI} MiB", "docker run --shm-size=1g")  # noqa: S108
    return good("/dev/shm", f"{size // _MEBI} MiB")  # noqa: S108


def _open_files() -> Check | None:
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"{soft} at once, can be raised to {hard}"
    return bad("open files", text, "ulimit -n 1024") if soft < _LEAST_FILES else good("open files", text)


def _pipe_size() -> Check | None:
    try:
        size = int(Path("/proc/sys/fs/pipe-max-size").read_text(encoding="ascii"))
    except (OSError, ValueError):  # not Linux
        return None
    text = f"{size // 1024} KiB at most"
    if size < _WANTED_PIPE:
        return absent(
            "pipe size", text + ": large pictures go slower", f"sysctl fs.pipe-max-size={_WANTED_PIPE}"
        )
    return good("pipe size", text)


_PROBES: tuple[Callable[[], Check | None], ...] = (_cores, _memory, _shared_memory, _open_files, _pipe_size)
