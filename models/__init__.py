"""The default model, its labels and a few scenes to try it on; see CARD.md."""

from pathlib import Path

__all__ = ["DEFAULT_MODEL", "LABELS", "SCENES"]

_HERE = Path(__file__).parent

DEFAULT_MODEL: Path = _HERE / "shapes.onnx"
LABELS: Path = _HERE / "shapes.labels.txt"
"""One class name per line, in the order of the model's classes."""
SCENES: Path = _HERE / "scenes"
"""JPEG files, and `truth.json` with the objects in each."""
