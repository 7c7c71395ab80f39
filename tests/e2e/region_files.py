"""Regions of shared memory as a host makes them, and requests for pictures in them."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from raw_host import RawHost
from wire import COMMAND, RGB, shared

from runtimes.picture_ids import draw_id

if sys.platform == "linux":
    import fcntl

SIDE = 32
SIZE = SIDE * SIDE * 3
REGION = 7
"""The id that regions have where nothing else is said."""

KINDS = ["memfd", "plain", "trusted"]


class Region:
    """A file in memory, written by the host."""

    def __init__(self, kind: str, path: Path, size: int) -> None:
        self.kind = kind
        self.size = size
        if kind == "memfd":
            self._descriptor = os.memfd_create("region", os.MFD_ALLOW_SEALING)
            os.ftruncate(self._descriptor, size)
            fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
            self.path = f"/proc/{os.getpid()}/fd/{self._descriptor}"
        else:
            self.path = str(path)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
            os.ftruncate(self._descriptor, size)

    def write(self, data: bytes, offset: int = 0) -> None:
        os.pwrite(self._descriptor, data, offset)

    def shrink(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def attach(self, region_id: int = REGION, **more: Any) -> dict[str, Any]:
        """Return the command; what the host vouches for is said."""
        trusted = {"trusted": True} if self.kind == "trusted" else {}
        fields = {"cmd": "region_attach", "regionId": region_id, "path": self.path, "size": self.size}
        return fields | trusted | more

    def close(self) -> None:
        os.close(self._descriptor)
        if self.kind != "memfd":
            Path(self.path).unlink(missing_ok=True)


class Regions:
    """Makes regions, under /dev/shm where there is one, and takes them away again."""

    def __init__(self, elsewhere: Path) -> None:
        memory = Path("/dev/shm")
        self._folder = memory if memory.is_dir() else elsewhere
        self._made: list[Region] = []

    def __call__(self, kind: str = "plain", size: int = SIZE) -> Region:
        if kind == "memfd" and sys.platform != "linux":
            pytest.skip("memory files are Linux's")
        path = self._folder / f"inferpipe-test-{os.getpid()}-{len(self._made)}"
        self._made.append(Region(kind, path, size))
        return self._made[-1]

    def close(self) -> None:
        for region in self._made:
            with contextlib.suppress(OSError):
                region.close()


def numbered(number: int) -> bytes:
    return draw_id(number, SIDE, SIDE).tobytes()


def infer(offset: int = 0, region_id: int = REGION, model: int = 0) -> bytes:
    """Return the payload for an RGB picture of `SIDE` pixels."""
    return shared(model, region_id, offset, SIDE, SIDE, RGB, SIZE)


def found(answer: dict[str, Any]) -> list[int]:
    assert "error" not in answer, answer
    return [detection["classId"] for detection in answer["detections"]]


def attached(host: RawHost, region: Region) -> None:
    assert host.ask(COMMAND, region.attach())["status"] == "ok"
