"""The pictures and packets that are sent: made once, written to files that every side reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models import DEFAULT_MODEL, SCENES
from protocol.framing import HEADER_BYTES
from protocol.messages import (
    CacheFrame,
    DataMessage,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    MessageType,
)
from protocol.picture import Picture
from protocol.pixel_format import PixelFormat

Image = NDArray[np.uint8]
"""(height, width, 3) BGR."""

VARIANTS = 4
"""Different pictures, sent in turn: one alone would stay in the caches."""

BATCH = 8
"""Pictures of a batch."""

_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is measured."""

    path: str
    picture: Path | None
    """What it is shown; None, or a file that is not there: a drawn scene."""

    @property
    def missing(self) -> bool:
        """Whether its file is not there."""
        return not self.path.startswith("fake:") and not Path(self.path).exists()


MODELS = {
    "no-op": Model("fake:noop?size=640", None),
    "default": Model(str(DEFAULT_MODEL), next(iter(sorted(SCENES.glob("*.jpg"))), None)),
    "yolov8n": Model(
        str(_SHARED / "models" / "onnx" / "yolov8n_float32.onnx"),
        _SHARED / "images" / "street_peds_1080p.jpg",
    ),
}
"""By the name that scenarios use."""


@dataclass(frozen=True, slots=True)
class Input:
    """A kind of request."""

    type: MessageType
    size: tuple[int, int]
    """Width and height of its pictures."""
    encode: Callable[[int, list[Image]], DataMessage]
    """Makes the request for a picture's number out of all pictures."""
    setup: Callable[[int, list[Image]], DataMessage] | None = None
    """What is sent once for each picture before anything is measured."""
    pictures: int = 1
    """Pictures in a request."""


@dataclass(frozen=True, slots=True)
class Payloads:
    """Files with the payloads of one input."""

    type: int
    files: list[str]
    setup_type: int
    setup_files: list[str]

    @property
    def with_pixels(self) -> tuple[int, list[str]]:
        """The type and the files that bring the pictures: a cached request's are in its setup."""
        return (self.setup_type, self.setup_files) if self.setup_files else (self.type, self.files)


def _raw(image: Image) -> Picture:
    height, width = image.shape[:2]
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    return Picture(width, height, PixelFormat.RGB, rgb.data.cast("B"))


def _infer_raw(number: int, images: list[Image]) -> DataMessage:
    return InferRaw(0, 0, _raw(images[number]))


def _infer_jpeg(number: int, images: list[Image]) -> DataMessage:
    written, data = cv2.imencode(".jpg", images[number], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    assert written
    return InferJpeg(0, 0, memoryview(data.tobytes()))


def _infer_cached(number: int, _images: list[Image]) -> DataMessage:
    return InferCached(0, 0, number)


def _cache_frame(number: int, images: list[Image]) -> DataMessage:
    return CacheFrame(0, number, _raw(images[number]))


def _infer_batch(number: int, images: list[Image]) -> DataMessage:
    return InferBatch(0, 0, tuple(_raw(images[(number + k) % len(images)]) for k in range(BATCH)))


_640, _1080P = (640, 640), (1920, 1080)

INPUTS = {
    "raw 640": Input(MessageType.INFER_RAW, _640, _infer_raw),
    "raw 1080p": Input(MessageType.INFER_RAW, _1080P, _infer_raw),
    "JPEG 1080p": Input(MessageType.INFER_JPEG, _1080P, _infer_jpeg),
    "cached": Input(MessageType.INFER_CACHED, _640, _infer_cached, setup=_cache_frame),
    "batch of 8": Input(MessageType.INFER_BATCH, _640, _infer_batch, pictures=BATCH),
}
"""By the name that scenarios use."""


class PayloadFolder:
    """Writes the files of a model's input when they are first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str], Payloads] = {}

    def payloads(self, model: str, name: str) -> Payloads:
        """Return the files of an input, with pictures that suit a model."""
        key = (model, name)
        if key not in self._made:
            self._made[key] = self._make(model, name)
        return self._made[key]

    def _make(self, model: str, name: str) -> Payloads:
        kind = INPUTS[name]
        images = variants(source_image(MODELS[model].picture), *kind.size)
        folder = self._folder / f"{model}-{name}".replace(" ", "-")
        folder.mkdir()
        requests = [kind.encode(number, images) for number in range(VARIANTS)]
        setup = [kind.setup(number, images) for number in range(VARIANTS)] if kind.setup else []
        return Payloads(
            kind.type,
            _write(requests, folder, "request"),
            MessageType.CACHE_FRAME,
            _write(setup, folder, "setup"),
        )


def _write(messages: list[DataMessage], folder: Path, name: str) -> list[str]:
    files = [folder / f"{name}-{number}" for number in range(len(messages))]
    for file, message in zip(files, messages, strict=True):
        file.write_bytes(message.encode()[HEADER_BYTES:])
    return [str(file) for file in files]


def source_image(file: Path | None) -> Image:
    """Return a picture file, or a drawn scene where there is none."""
    if file is not None and file.exists():
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is not None:
            return np.asarray(image, np.uint8)
    return drawn_scene()


def drawn_scene() -> Image:
    """Return 1080p of shapes on a gradient with a little noise, so that a JPEG has something to say."""
    width, height = _1080P
    random = np.random.default_rng(0)
    ramp = np.add.outer(np.linspace(40, 120, height), np.linspace(0, 80, width))
    image = np.repeat(ramp[:, :, None], 3, axis=2) + random.normal(0, 4, (height, width, 3))
    scene = np.ascontiguousarray(image.clip(0, 255), np.uint8)
    for _ in range(24):
        x, y, radius = random.integers((0, 0, 20), (width, height, 160)).tolist()
        color = tuple(random.integers(0, 256, 3).tolist())
        cv2.circle(scene, (x, y), radius, color, -1)
    return scene


def variants(image: Image, width: int, height: int) -> list[Image]:
    """Return several pictures of one size: the source scaled to the height, repeated sideways, shifted."""
    scaled_width = max(1, round(image.shape[1] * height / image.shape[0]))
    scaled: Any = cv2.resize(image, (scaled_width, height), interpolation=cv2.INTER_AREA)
    wide = np.tile(scaled, (1, -(-width // scaled_width), 1))
    return [np.ascontiguousarray(np.roll(wide, 64 * k, axis=1)[:, :width]) for k in range(VARIANTS)]
