"""Shared memory as a host makes it: a memfd, filled, and sealed against shrinking."""

import fcntl
import os
from pathlib import Path
from typing import Any

SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Region:
    """A sealed memory file that lives as long as this object is not closed."""

    def __init__(self, region_id: int, content: Path) -> None:
        """Copy a file into it."""
        data = content.read_bytes()
        self._id = region_id
        self._size = len(data)
        self._descriptor = os.memfd_create("inferpipe-bench", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, SEALS)

    @property
    def attach(self) -> dict[str, Any]:
        """The command that makes it known to a worker."""
        return {
            "cmd": "region_attach",
            "regionId": self._id,
            "path": f"/proc/{os.getpid()}/fd/{self._descriptor}",
            "size": self._size,
        }

    def close(self) -> None:
        """Give it up."""
        os.close(self._descriptor)
