"""Gives back the disk blocks in the middle of a file; reading them gives zeros from then on."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

_KEEP_SIZE_PUNCH_HOLE = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, linux/falloc.h


def punch_hole(descriptor: int, start: int, length: int) -> bool:
    """Give back `length` bytes from `start`, and tell whether the file system did it."""
    fallocate = _fallocate()
    return fallocate is not None and fallocate(descriptor, _KEEP_SIZE_PUNCH_HOLE, start, length) == 0


@cache
def _fallocate() -> Callable[..., Any] | None:
    """Return the C library's function, which releases the interpreter's lock; None elsewhere."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    # glibc's `fallocate` has 32-bit offsets on 32-bit machines; musl has 64-bit ones and one name only.
    function = getattr(library, "fallocate64", None) or getattr(library, "fallocate", None)
    if function is None:
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    function.restype = ctypes.c_int
    return function  # type: ignore[no-any-return]
