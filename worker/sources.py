"""Where an item's picture comes from: its own packet, the frame cache, or shared memory."""

import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from frame_cache.base import Decode, PreparedKey
from frame_cache.memory import CachedFrame
from frame_cache.shared_memory import RegionUse
from preprocess.errors import PreprocessError
from preprocess.frame import Frame, Pixels, Prepared
from preprocess.options import DecodeOptions
from protocol.errors import JPEG_DECODE_PREFIX, RAW_WRAP_PREFIX
from protocol.pixel_format import PixelFormat


class FrameGoneError(Exception):
    """A cached frame turned out to be none."""

    def __init__(self, frame_id: int) -> None:
        super().__init__(frame_id)
        self.frame_id = frame_id


class Source(Protocol):
    """A picture that an item is prepared from. Errors: those of `preprocess.errors`."""

    @property
    def decode_prefix(self) -> str:
        """How the kind of request names a picture that cannot be decoded."""
        ...

    def peek(self, key: PreparedKey) -> Prepared | None:
        """Return the tensor where it is there already; cheap enough for the event loop."""
        ...

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        """Return the decoded picture."""
        ...

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        """Return the tensor, made by `make` where it is not there yet."""
        ...


class PacketSource(msgspec.Struct, frozen=True, eq=False):
    """The request brought the picture along."""

    frame: Frame
    decode_prefix: str

    def peek(self, key: PreparedKey) -> Prepared | None:
        return None

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        return decode(self.frame, options)

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        return make()


class CachedSource(msgspec.Struct, frozen=True, eq=False):
    """The picture lies in the frame cache, decoded and prepared once for all who ask alike."""

    entry: CachedFrame
    decode_prefix: str = JPEG_DECODE_PREFIX

    def peek(self, key: PreparedKey) -> Prepared | None:
        return self.entry.prepared(key)

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        try:
            return self.entry.pixels(options)
        except PreprocessError as error:
            # The frame came encoded and broken: its id is empty, whenever that was found out.
            raise FrameGoneError(self.entry.frame_id) from error

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        return self.entry.prepare(key, make)


class StreamSource:
    """A frame of a stream, decoded once for all the models that it goes through."""

    decode_prefix = JPEG_DECODE_PREFIX
    """A stream's own errors name its decoder; this is for the pictures of one that carries JPEG."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._lock = threading.Lock()
        self._decoded: dict[DecodeOptions, Pixels] = {}

    def peek(self, key: PreparedKey) -> Prepared | None:
        return None

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        with self._lock:  # whoever asks while it is decoded waits for that
            if options not in self._decoded:
                self._decoded[options] = decode(self._frame, options)
            return self._decoded[options]

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        return make()


class SharedSource(msgspec.Struct, frozen=True, eq=False):
    """The picture lies in a shared-memory region, whose user this is."""

    use: RegionUse
    width: int
    height: int
    format: PixelFormat
    decode_prefix: str = RAW_WRAP_PREFIX

    def peek(self, key: PreparedKey) -> Prepared | None:
        return None

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        return decode(Frame(self.use.read(), self.width, self.height, self.format), options)

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        return make()


class SpentSource(msgspec.Struct, frozen=True, eq=False):
    """What is left when a picture has been prepared: nothing that keeps its memory."""

    decode_prefix: str = ""

    def peek(self, key: PreparedKey) -> Prepared | None:
        return None

    def pixels(self, decode: Decode, options: DecodeOptions) -> Pixels:
        raise RuntimeError("this picture has been prepared already")

    def prepared(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        raise RuntimeError("this picture has been prepared already")


SPENT = SpentSource()
