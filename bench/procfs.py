"""CPU time and peak memory of a process, from /proc (Linux alone)."""

import os
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_UTIME, _STIME = 11, 12  # fields of /proc/pid/stat, counted after the command's name


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system, to the kernel's tick (10 ms)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_S


def peak_megabytes(pid: int) -> float:
    """Return the most resident memory that a process has had, in 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0
