"""CPU time and peak memory of the worker, from /proc; None on systems without one."""

import os
from pathlib import Path

_UTIME, _STIME = 11, 12  # fields of /proc/pid/stat, counted after the command's name


def cpu_seconds(pid: int) -> float | None:
    """Return the CPU time of a process, user and system, to the kernel's tick (10 ms)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) / os.sysconf("SC_CLK_TCK")


def peak_megabytes(pid: int) -> float | None:
    """Return the most resident memory that a process has had, in 10^6 bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    sizes = [int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM:")]
    return sizes[0] * 1024 / 1e6 if sizes else None
