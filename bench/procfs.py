"""CPU time, memory and context switches of a process, from /proc (Linux alone)."""

import os
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_UTIME, _STIME = 11, 12  # fields of /proc/pid/stat, counted after the command's name


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system, to the kernel's tick (10 ms)."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text[text.rindex(")") + 2 :].split()
    return (int(fields[_UTIME]) + int(fields[_STIME])) * _TICK_S


def peak_megabytes(pid: int) -> float:
    """Return the most resident memory that a process has had, in 10^6 bytes."""
    return _status(Path(f"/proc/{pid}/status"), "VmHWM:") * 1024 / 1e6


def resident_megabytes(pid: int) -> float:
    """Return the resident memory of a process now, in 10^6 bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def thread_seconds(pid: int) -> float:
    """Return the CPU time of all threads that live, to the nanosecond where the kernel keeps it."""
    try:
        texts = [(task / "schedstat").read_text() for task in _tasks(pid)]
    except FileNotFoundError:  # a kernel without schedstat
        return cpu_seconds(pid)
    return sum(int(text.split()[0]) for text in texts) / 1e9


def wake_ups(pid: int) -> int:
    """Return how often the threads of a process have gone to sleep by themselves, all together."""
    return sum(_status(task / "status", "voluntary_ctxt_switches:") for task in _tasks(pid))


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _status(path: Path, name: str) -> int:
    for line in path.read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    return 0
