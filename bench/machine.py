"""Where and with what a result was made."""

import os
import platform
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runtimes.cores import available_cores

_DISTRIBUTIONS = (
    "inferpipe",
    "numpy",
    "opencv-python-headless",
    "opencv-contrib-python",
    "onnxruntime",
    "msgspec",
)

_TOOLS = ("node", "rustc")
"""Of the host libraries."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a figure depends on."""

    host: str
    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    load: float
    """Processes that wanted a core in the minute before: above 0.5 the machine was not quiet."""


def this_machine() -> Machine:
    """Describe this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    return Machine(
        host=socket.gethostname(),
        cpu=_cpu_model(),
        cores=available_cores(),
        memory_gb=round(memory, 1),
        kernel=platform.release(),
        load=round(os.getloadavg()[0], 2),
    )


def versions() -> dict[str, str]:
    """Return the versions that a figure depends on."""
    found = {"python": platform.python_version()}
    for name in _DISTRIBUTIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {name: number for name in _TOOLS if (number := _tool_version(name))}


def _tool_version(name: str) -> str:
    """Return what `NAME --version` says; "" where there is none."""
    path = shutil.which(name)
    if path is None:
        return ""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return number[0] if number else ""


def today() -> str:
    """Return the date, UTC."""
    return datetime.now(UTC).date().isoformat()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
