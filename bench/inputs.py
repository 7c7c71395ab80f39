"""The packets that are sent: made once, written to files that every side reads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bench.models import model_named
from bench.pictures import VARIANTS, Image, source_image, variants
from protocol.framing import HEADER_BYTES
from protocol.messages import (
    CacheFrame,
    DataMessage,
    InferBatch,
    InferCached,
    InferJpeg,
    InferRaw,
    InferShared,
    MessageType,
    SharedPicture,
)
from protocol.picture import Picture
from protocol.pixel_format import PixelFormat

BATCH = 8
"""Pictures of a batch."""

REGION = 1
"""The id of the one region that is attached."""

_PAGE = 4096
_JPEG_QUALITY = 90

Encode = Callable[[int, list[Image]], DataMessage]
"""Makes the request for a picture's number out of all pictures."""


@dataclass(frozen=True, slots=True)
class Input:
    """A kind of request."""

    type: MessageType
    size: tuple[int, int]
    """Width and height of its pictures."""
    encode: Encode
    setup: Encode | None = None
    """What is sent once for each picture before anything is measured."""
    shared: bool = False
    """Its pixels lie in a region."""
    pictures: int = 1
    """Pictures in a request."""

    @property
    def pixels(self) -> Encode:
        """Makes the message that holds the pictures themselves, as a bare loop reads them."""
        if self.shared:
            return _infer_raw
        return self.setup or self.encode


@dataclass(frozen=True, slots=True)
class Payloads:
    """Files with the payloads of one input."""

    type: int
    files: list[str]
    pixels_type: int
    pixels_files: list[str]
    """What a bare loop reads: the requests themselves where the pictures are in them."""
    setup_files: list[str]
    """CACHE_FRAMEs."""
    region_file: str = ""
    """What lies in shared memory."""

    @property
    def cached(self) -> bool:
        """Whether the requests name pictures that were sent before."""
        return bool(self.setup_files)


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


def _infer_shared(number: int, images: list[Image]) -> DataMessage:
    image = images[number]
    height, width = image.shape[:2]
    picture = SharedPicture(width, height, PixelFormat.RGB, image.nbytes)
    return InferShared(0, 0, REGION, number * region_stride(image.nbytes), picture)


def region_stride(size: int) -> int:
    """Return the bytes from one picture of a region to the next: whole pages."""
    return -(-size // _PAGE) * _PAGE


_64, _640, _1080P = (64, 64), (640, 640), (1920, 1080)

INPUTS = {
    "raw 64": Input(MessageType.INFER_RAW, _64, _infer_raw),
    "raw 640": Input(MessageType.INFER_RAW, _640, _infer_raw),
    "raw 1080p": Input(MessageType.INFER_RAW, _1080P, _infer_raw),
    "JPEG 640": Input(MessageType.INFER_JPEG, _640, _infer_jpeg),
    "JPEG 1080p": Input(MessageType.INFER_JPEG, _1080P, _infer_jpeg),
    "cached": Input(MessageType.INFER_CACHED, _640, _infer_cached, setup=_cache_frame),
    "shared 640": Input(MessageType.INFER_SHARED, _640, _infer_shared, shared=True),
    "shared 1080p": Input(MessageType.INFER_SHARED, _1080P, _infer_shared, shared=True),
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
        images = variants(source_image(model_named(model).picture), *kind.size)
        folder = self._folder / f"payloads-{len(self._made)}"
        folder.mkdir()
        files = _write(kind.encode, images, folder, "request")
        pixels = files if kind.pixels is kind.encode else _write(kind.pixels, images, folder, "pixels")
        return Payloads(
            kind.type,
            files,
            _type_of(kind.pixels, images),
            pixels,
            setup_files=pixels if kind.setup else [],
            region_file=_write_region(images, folder) if kind.shared else "",
        )


def _type_of(encode: Encode, images: list[Image]) -> int:
    message = encode(0, images)
    return int(message.TYPE)


def _write(encode: Encode, images: list[Image], folder: Path, name: str) -> list[str]:
    files = [folder / f"{name}-{number}" for number in range(VARIANTS)]
    for number, file in enumerate(files):
        file.write_bytes(encode(number, images).encode()[HEADER_BYTES:])
    return [str(file) for file in files]


def _write_region(images: Sequence[Image], folder: Path) -> str:
    """Write the pictures one after another, each at a page's begin."""
    file = folder / "region"
    with file.open("wb") as out:
        for image in images:
            pixels = _raw(image).data
            out.write(pixels)
            out.write(bytes(region_stride(len(pixels)) - len(pixels)))
    return str(file)
