"""An X server without a monitor, whose pixels a test writes itself."""

import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


class VirtualScreen:
    """Xvfb, with its framebuffer in a file (an XWD image) that is mapped here."""

    def __init__(self, folder: Path, width: int = 320, height: int = 240) -> None:
        if shutil.which("Xvfb") is None:
            pytest.skip("Xvfb is not installed")
        ready, told = os.pipe()
        try:
            self.process = subprocess.Popen(
                [
                    *("Xvfb", "-displayfd", str(told), "-br", "-nolisten", "tcp", "-noreset"),
                    *("-screen", "0", f"{width}x{height}x24", "-fbdir", str(folder)),
                ],
                pass_fds=[told],
                stderr=subprocess.DEVNULL,
            )
        finally:
            os.close(told)
        with open(ready) as answer:
            self.display = f":{answer.readline().strip()}"
        assert self.display != ":", "Xvfb did not start"
        self.pixels = _mapped(folder / "Xvfb_screen0", width, height)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


def _mapped(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """Return the framebuffer (height, width, 4), BGRX, that can be written: XWDFile.h tells the header."""
    with path.open("rb") as file:
        header = struct.unpack(">25I", file.read(100))
    size, row_bytes, colours = header[0], header[12], header[19]
    data = np.memmap(path, np.uint8, "r+", offset=size + colours * 12, shape=(height, row_bytes))
    return data[:, : width * 4].reshape(height, width, 4)
