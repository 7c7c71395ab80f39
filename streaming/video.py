"""The one way from a container to frames."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.errors import BrokenStreamError, UnsupportedStreamError
from streaming.settings import Access, DecodeSettings

try:
    import av

    from streaming.container import BinaryReader, open_container, stream_error, video_stream
    from streaming.decoder import Decoded, Decoder
    from streaming.hardware import Hardware, find_hardware
    from streaming.pixels import PixelReader, guard_pixels
    from streaming.selection import Selection
    from streaming.truncation import WatchedFile
except ImportError as error:
    raise UnsupportedStreamError(
        f"reading video needs PyAV ({error}): pip install 'inferpipe[video]'"
    ) from error

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


def decode_video(
    file: str | BinaryReader,
    settings: DecodeSettings,
    access: Access,
    notify: Notify,
    stopped: Callable[[], bool],
    start_frame: int = 0,
    end_frame: int | None = None,
) -> Generator[VideoFrame, None, None]:
    """Give the frames of a container's video in the order in which they are shown; blocks.

    What is damaged is left out, or given with `damaged` in its metadata. Frames keep their numbers whatever
    `settings` and the range leave out. The container is closed when the generator is.

    Args:
        file: a path or URL of one of `access.protocols`; or an object with `read(size)`, b"" being its end,
            and, only where it can be sought in, `seek`, `tell` and `seekable`.
        settings: how to decode, and which frames to give.
        access: what libavformat may open.
        notify: told "started" before the first frame.
        stopped: asked at every packet; once it says True the generator ends quietly.
        start_frame: number of the first frame to give.
        end_frame: number of the first frame that is not given any more; None: all to the end.

    Raises:
        BrokenStreamError: after the last frame, where something was damaged or is missing.
        UnsupportedStreamError: it is no video, or one that is not decoded here.
        StreamTooLargeError: its frames have too many pixels.
        SourceUnavailableError: it cannot be opened, or falls silent.
    """
    hardware = find_hardware(settings.hwaccel)
    watched = file if isinstance(file, str) else WatchedFile(file)
    with _blaming_the_end(watched):
        container = open_container(watched, settings, access, hardware.accelerator)
    with closing(container):
        with _blaming_the_end(watched):
            stream = video_stream(container)
        guard_pixels(stream.width, stream.height, settings.max_pixels)
        selection = Selection(settings, start_frame, end_frame)
        decoder = Decoder(container, stream, settings, selection, start_frame)
        pixels = PixelReader(settings)
        started = False
        for decoded in decoder.frames(stopped):
            if not started:
                notify(
                    StreamEvent("started", _description(container, stream, decoded.frame, pixels, hardware))
                )
                started = True
            if selection.ended(decoded.number):
                return
            if decoded.wanted:
                yield _video_frame(decoded, pixels, _pixel_aspect(stream))
        if decoder.has_read_all and not stopped():
            _check_end(decoder, stream, watched)


@contextmanager
def _blaming_the_end(file: WatchedFile | str) -> Iterator[None]:
    """What cannot be opened because its end is missing says so."""
    try:
        yield
    except (BrokenStreamError, UnsupportedStreamError) as error:
        missing = None if isinstance(file, str) else file.missing()
        if missing is None:
            raise
        text = f"the stream cannot be opened, it ends early: {missing}"
        raise BrokenStreamError(text) from error.__cause__


def _video_frame(decoded: Decoded, pixels: PixelReader, pixel_aspect: Fraction) -> VideoFrame:
    picture = pixels.read(decoded.frame, pixel_aspect)
    metadata: dict[str, Any] = {"keyframe": decoded.frame.key_frame}
    if decoded.damaged:
        metadata["damaged"] = True
    return VideoFrame(
        frame_data=picture.pixels,
        format=picture.format,
        width=picture.width,
        height=picture.height,
        timestamp_ms=decoded.timestamp_ms,
        frame_number=decoded.number,
        metadata=metadata,
        color_space=picture.color_space,
    )


def _pixel_aspect(stream: VideoStream) -> Fraction:
    return stream.sample_aspect_ratio or Fraction(1)


def _description(
    container: InputContainer,
    stream: VideoStream,
    frame: av.VideoFrame,
    pixels: PixelReader,
    hardware: Hardware,
) -> dict[str, Any]:
    """Return the fields of "started"."""
    aspect = _pixel_aspect(stream)
    width, height = pixels.size(frame, aspect)
    fields = {
        "codec": stream.codec_context.codec.canonical_name,
        "container": container.format.name,
        "width": width,
        "height": height,
        "fps": float(stream.average_rate) if stream.average_rate else None,
        "durationMs": container.duration / 1000 if container.duration else None,
        "frames": stream.frames or None,
        "rotation": pixels.turn(frame).degrees,
        "pixelAspect": f"{aspect.numerator}:{aspect.denominator}",
    }
    return {**fields, **hardware.in_effect(stream, frame)}


def _check_end(decoder: Decoder, stream: VideoStream, file: WatchedFile | str) -> None:
    """Raise what was wrong, now that all frames are given."""
    after = f"after {decoder.place}" if decoder.place.number is not None else "before the first frame"
    missing = None if isinstance(file, str) else file.missing()
    indexed = len(stream.index_entries) if "mp4" in stream.container.format.name else 0
    if missing is None and decoder.failure is None and indexed > decoder.packets:
        missing = f"{indexed - decoder.packets} of its {indexed} frames are missing"
    if missing is not None:
        raise BrokenStreamError(f"the stream ends early, {after}: {missing}") from decoder.failure
    if decoder.failure is not None:
        text = f"the stream cannot be read on {after}"
        raise stream_error(decoder.failure, text, remote=isinstance(file, str)) from decoder.failure
    if decoder.damage:
        raise BrokenStreamError(f"the stream is damaged: {decoder.damage}")
    if decoder.place.number is None:
        raise BrokenStreamError("the stream has no frame that can be decoded")
