"""What is used of coremltools and Pillow to run a model, imported when the first one is loaded."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtimes.errors import ModelLoadError, RuntimeUnavailableError

Features = dict[str, Any]  # what an item is to coremltools: arrays, numbers, pictures of Pillow


_ADVICE = "TRANSFORMERS_NO_ADVISORY_WARNINGS"


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Import coremltools without the advice of transformers, which it imports where that is there."""
    before = os.environ.get(_ADVICE)
    os.environ[_ADVICE] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ADVICE]
        else:
            os.environ[_ADVICE] = before


class Predictor(Protocol):
    """What is used of `coremltools.models.MLModel`."""

    def predict(self, data: Any) -> Any:
        """Take the features of one item, or a list of such; answer alike."""
        ...


class Library(Protocol):
    """What a model is loaded and fed with."""

    def load(self, path: Path, unit: str) -> Predictor:
        """Compile a model for a `ComputeUnit`, by name; raises `ModelLoadError`."""
        ...

    def picture(self, pixels: NDArray[Any], mode: str) -> Any:
        """Return a Pillow image of [height, width, 3] or [height, width], in Pillow's `mode`."""
        ...


class InstalledLibrary:
    """coremltools and Pillow as they are installed. Not run on a Mac by this project."""

    def load(self, path: Path, unit: str) -> Predictor:
        """See `Library.load`."""
        try:
            with without_advice():
                import coremltools  # noqa: PLC0415 - half a second to import
        except (ImportError, OSError) as exc:
            raise _missing("coremltools", exc) from exc
        compiled = path.suffix.lower() == ".mlmodelc"
        kind = coremltools.models.CompiledMLModel if compiled else coremltools.models.MLModel
        try:
            with warnings.catch_warnings():
                # It warns that predict will not run, and returns a model without one.
                warnings.simplefilter("error", RuntimeWarning)
                model = kind(str(path), compute_units=coremltools.ComputeUnit[unit])
        except Exception as exc:  # it raises bare Exceptions
            text = " ".join(str(exc).split())
            raise ModelLoadError(f"{path} cannot be loaded: {text}") from exc
        if not compiled and model.__proxy__ is None:
            raise ModelLoadError(f"{path} needs a newer macOS or coremltools than this one")
        return model  # type: ignore[no-any-return]  # the library ships no types

    def picture(self, pixels: NDArray[Any], mode: str) -> Any:
        """See `Library.picture`. Grey pixels are shared, colour ones are spread to four bytes."""
        try:
            from PIL import Image  # noqa: PLC0415 - only models with pictures need it
        except (ImportError, OSError) as exc:
            raise _missing("Pillow, which hands pictures to Core ML,", exc) from exc
        image = Image.fromarray(pixels)
        return image if image.mode == mode else image.convert(mode)


def _missing(what: str, exc: Exception) -> RuntimeUnavailableError:
    reason = " ".join(str(exc).split())
    return RuntimeUnavailableError(
        f"runtime coreml cannot be loaded: {what} is missing ({reason}); pip install 'inferpipe[coreml]'"
    )


def check_picture(library: Library) -> None:
    """Find out at load, not at the first picture, whether pictures can be made."""
    library.picture(np.zeros((1, 1), np.uint8), "L")
