"""The models that are measured, by the names that scenarios use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.dense_model import write_dense_model
from models import DEFAULT_MODEL, SCENES

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_STREET = _SHARED / "images" / "street_peds_1080p.jpg"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is measured."""

    path: str
    """A file or a URI."""
    picture: Path | None = None
    """What it is shown; None, or a file that is not there: a drawn scene."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """What its configuration says besides the path."""
    write: Callable[[Path], None] | None = None
    """Makes the file, where it is not kept."""

    @property
    def missing(self) -> bool:
        """Whether its file is not there and cannot be made."""
        scheme = self.path.partition(":")[0]
        is_uri = len(scheme) > 1 and scheme.isalpha() and scheme != self.path
        return self.write is None and not is_uri and not Path(self.path).exists()


MODELS: Mapping[str, Model] = {
    "no-op": Model("fake:noop?size=640"),
    "default": Model(str(DEFAULT_MODEL), next(iter(sorted(SCENES.glob("*.jpg"))), None)),
    "yolov8n": Model(str(_SHARED / "models" / "onnx" / "yolov8n_float32.onnx"), _STREET),
    "yolov8n openvino": Model(str(_SHARED / "models" / "openvino" / "yolov8n_int8" / "yolov8n.xml"), _STREET),
    "yolov8n litert": Model(
        str(_SHARED / "models" / "tflite" / "yolov8n_int8_dynamic_floatio.tflite"), _STREET
    ),
    "yolov8n litert int8": Model(
        str(_SHARED / "models" / "tflite" / "yolov8n_full_integer_quant.tflite"), _STREET
    ),
    "dense": Model("dense.onnx", config={"postprocessor": "raw"}, write=write_dense_model),
}
"""By the name that scenarios use."""


def model_named(name: str) -> Model:
    """Return one of `MODELS`, or what a path or a URI names."""
    return MODELS.get(name) or Model(name)


class ModelFolder:
    """Makes the files of models that are not kept, when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def model(self, name: str) -> Model:
        """Return a model whose path leads to a file."""
        model = model_named(name)
        if model.write is None:
            return model
        path = self._folder / model.path
        if not path.exists():
            model.write(path)
        return replace(model, path=str(path), write=None)
