"""Doubles of what is used of coremltools and Pillow: the real ones run on macOS."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class PictureDouble:
    """Stands for an image of Pillow."""

    pixels: np.ndarray
    mode: str

    def convert(self, mode: str) -> np.ndarray:
        assert mode == self.mode
        return self.pixels


class MLModelDouble:
    """Stands for `coremltools.models.MLModel`: keeps what it is asked, answers by a function."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.answer = answer
        self.calls: list[Any] = []
        self.inside = 0
        self.most_inside = 0

    def predict(self, data: Any) -> Any:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            self.calls.append(data)
            return [self.answer(item) for item in data] if isinstance(data, list) else self.answer(data)
        finally:
            self.inside -= 1


class LibraryDouble:
    """Stands for coremltools and Pillow."""

    def __init__(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self.model = MLModelDouble(answer)
        self.unit = ""

    def load(self, path: Path, unit: str) -> MLModelDouble:
        self.unit = unit
        return self.model

    def picture(self, pixels: np.ndarray, mode: str) -> PictureDouble:
        return PictureDouble(pixels, mode)
