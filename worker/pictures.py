"""Decode and prepare over the process's buffers; OpenCV is imported by the first picture."""

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from importlib import import_module
from typing import Any, cast

from preprocess.buffers import BufferPool
from preprocess.errors import PreprocessError
from preprocess.frame import Box, Frame, Pixels, Prepared
from preprocess.options import DecodeOptions, PrepareOptions


class Pictures:
    """The two stages that touch pixels. Errors: those of `preprocess.errors`."""

    def __init__(self, buffers: BufferPool) -> None:
        self._buffers = buffers

    def preload(self) -> None:
        """Import the libraries ahead of the first picture; what goes wrong shows at that picture."""
        with suppress(PreprocessError):
            _ = self._decode, self._prepare

    def decode(self, frame: Frame, options: DecodeOptions) -> Pixels:
        """Return a frame's pixels."""
        return self._decode(frame, options, self._buffers)

    def prepare(self, pixels: Pixels, options: PrepareOptions, roi: Box | None) -> Prepared:
        """Return the tensor of a picture, or of its region of interest."""
        return self._prepare(pixels, options, roi, self._buffers)

    @cached_property
    def _decode(self) -> Callable[[Frame, DecodeOptions, BufferPool], Pixels]:
        return cast("Callable[..., Pixels]", _load("preprocess.decode").decode)

    @cached_property
    def _prepare(self) -> Callable[[Pixels, PrepareOptions, Box | None, BufferPool], Prepared]:
        return cast("Callable[..., Prepared]", _load("preprocess.prepare").prepare)


def _load(module: str) -> Any:
    try:
        return import_module(module)
    except ImportError as error:
        raise PreprocessError(f"OpenCV cannot be loaded: {error}; pip install 'inferpipe[opencv]'") from error
