"""Opens containers with libavformat, which may open nothing else, and finds their stream of pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.error import FFmpegError, InvalidDataError

from streaming.errors import BrokenStreamError, SourceUnavailableError, StreamError, UnsupportedStreamError
from streaming.settings import Access, DecodeSettings

if TYPE_CHECKING:
    from av.video.stream import VideoStream


class BinaryReader(Protocol):
    """A file object; one that has `seek` and `tell` is sought in, unless its `seekable()` says no."""

    def read(self, size: int, /) -> bytes: ...


_CONTAINERS = (
    "mov,mp4,matroska,webm,mpegts,mpeg,avi,flv,ogg,asf,mxf,nut,dv,gif,ivf,"
    "h264,hevc,obu,m4v,mpegvideo,mjpeg,yuv4mpegpipe"
)
_NETWORK_CONTAINERS = "rtsp,sdp,rtp,hls,mpjpeg,live_flv,aac,mp3,ac3,eac3,webvtt"
"""What comes from a network alone: some of these name other places, which a file must not do."""

_LIVE = {"analyzeduration": "1000000", "probesize": "1000000", "fpsprobesize": "3"}


def open_container(
    file: str | BinaryReader, settings: DecodeSettings, access: Access, hwaccel: HWAccel | None
) -> InputContainer:
    """Open a container; blocks until its header and a few frames are read.

    Raises:
        StreamError: it cannot be opened; the same errors as those of `stream_error`.
    """
    try:
        return av.open(
            file,
            mode="r",
            container_options=_options(settings, access),
            metadata_errors="replace",
            timeout=(access.open_timeout_s, access.read_timeout_s),
            hwaccel=hwaccel,
        )
    except FFmpegError as error:
        raise stream_error(error, "the stream cannot be opened", remote=isinstance(file, str)) from error


def _options(settings: DecodeSettings, access: Access) -> dict[str, str]:
    formats = _CONTAINERS
    if set(access.protocols) - {"file"}:
        formats = f"{formats},{_NETWORK_CONTAINERS}"
    rules = {"protocol_whitelist": ",".join(access.protocols), "format_whitelist": formats}
    return {**(_LIVE if settings.live else {}), **access.options, **rules}


def video_stream(container: InputContainer) -> VideoStream:
    """Return the stream of pictures that is best to show.

    Raises:
        UnsupportedStreamError: there is none, or no decoder for it.
    """
    pictures = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not pictures:
        kinds = sorted({stream.type for stream in container.streams})
        held = f"it has only {' and '.join(kinds)}" if kinds else "it has no streams at all"
        raise UnsupportedStreamError(f"there is no video in this {container.format.name} stream: {held}")
    readable = [stream for stream in pictures if stream.codec_context is not None]
    if not readable:
        raise UnsupportedStreamError("no decoder is known for the video of this stream; convert it to H.264")
    best = container.streams.best("video")
    return next((stream for stream in readable if stream is best), readable[0])


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def stream_error(error: FFmpegError, what: str, *, remote: bool) -> StreamError:
    """Return what a failure of libavformat means to a host.

    Args:
        error: the failure.
        what: begins the text.
        remote: libavformat has opened the place itself; what a file object cannot do is no fault of one.
    """
    for kind, reason in _UNAVAILABLE.items():
        if remote and isinstance(error, kind):
            return SourceUnavailableError(f"{what}: {error.strerror}", reason)
    if isinstance(error, _UNSUPPORTED):
        return UnsupportedStreamError(f"{what}: it is no video in a container that is read here")
    if isinstance(error, InvalidDataError):
        return BrokenStreamError(f"{what}: its data are damaged, or no video")
    return BrokenStreamError(f"{what}: {error.strerror}")


_UNAVAILABLE: dict[type[Any], str] = {
    FileNotFoundError: "not_found",
    PermissionError: "refused",
    IsADirectoryError: "refused",
    TimeoutError: "timeout",
    av.error.ExitError: "timeout",
    av.error.HTTPUnauthorizedError: "unauthorized",
    av.error.HTTPForbiddenError: "unauthorized",
    av.error.HTTPNotFoundError: "not_found",
    av.error.HTTPError: "refused",
    ConnectionRefusedError: "unreachable",
    ConnectionError: "interrupted",
}
_UNSUPPORTED = (
    av.error.ArgumentError,
    av.error.DemuxerNotFoundError,
    av.error.DecoderNotFoundError,
    av.error.ProtocolNotFoundError,
    av.error.PatchWelcomeError,
)
