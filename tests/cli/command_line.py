"""Runs the command line as a person does: as a process, behind pipes or on a pseudo-terminal."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCENES = ROOT / "models" / "scenes"
COMMAND = (sys.executable, "-m", "worker")
DEADLINE_S = 60.0
COLUMNS = 80
ENVIRONMENT = {**os.environ, "TERM": "xterm", "NO_COLOR": "1", "PYTHONUTF8": "1"}


def piped(*words: object, **settings) -> subprocess.CompletedProcess[str]:
    """Run a command with its output in pipes."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=settings.pop("cwd", ROOT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env={**ENVIRONMENT, **settings.pop("env", {})},
        **settings,
    )


def on_terminal(*words: object, keys: bytes = b"", keys_after: bytes = b"") -> tuple[int, str]:
    """Run a command on a terminal of 80 columns; returns its exit status and all that it wrote.

    Args:
        words: of the command line.
        keys: what is typed.
        keys_after: once this has been written.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - Ctrl-C goes to who has it; no threads
    )
    os.close(theirs)
    try:
        written = _read_all(ours, keys, keys_after)
        return process.wait(DEADLINE_S), written.decode("utf-8").replace("\r\n", "\n")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def shown(written: str) -> list[str]:
    """Return the lines as they stay on the terminal: what was cleared is gone."""
    return [line.rpartition("\r\x1b[K")[2] for line in written.split("\n")]


def _read_all(terminal: int, keys: bytes, keys_after: bytes) -> bytes:
    written = b""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if keys and keys_after in written:
            os.write(terminal, keys)
            keys = b""
        try:
            data = os.read(terminal, 65536)
        except OSError:  # EIO: nobody has the other end open any more
            return written
        if not data:
            return written
        written += data
    raise AssertionError(f"no end after {DEADLINE_S} s: {written!r}")
