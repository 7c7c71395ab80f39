"""How many cores this process may use: native threads beyond that only wait for each other."""

import math
import os
from pathlib import Path

_CGROUP_V2 = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1 = Path("/sys/fs/cgroup/cpu")


def available_cores() -> int:
    """Return the cores that the affinity mask and the container's quota leave, at least 1."""
    quota = _cgroup_quota()
    return max(1, min(_affinity(), math.ceil(quota) if quota else _affinity()))


def native_threads(lanes: int, asked: int | None, cores: int) -> int:
    """Return the native threads of one predict call: the cores shared among the lanes, at least 1.

    Args:
        lanes: how many predict calls run at once.
        asked: what the host wants, which holds.
        cores: how many there are.
    """
    return asked or max(1, cores // max(1, min(lanes, cores)))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cgroup_quota() -> float | None:
    """Return the container's share in cores, None where it is unlimited or unknown."""
    try:
        if _CGROUP_V2.exists():
            quota, period = _CGROUP_V2.read_text().split()[:2]
        else:
            quota = (_CGROUP_V1 / "cpu.cfs_quota_us").read_text()
            period = (_CGROUP_V1 / "cpu.cfs_period_us").read_text()
        cores = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such controller
        return None
    return cores if cores > 0 else None
