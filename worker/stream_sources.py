"""From what a `stream_open` says to the source that gives its frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from protocol.options import RequestOptions
from protocol.stream_open import (
    CameraFrom,
    FileFrom,
    PacketsFrom,
    PushFrom,
    ScreenFrom,
    StreamOptions,
    StreamSource,
    UrlFrom,
)
from streaming.base import FrameSource
from streaming.pump import Drop
from streaming.settings import DecodeSettings
from worker.config import WorkerConfig
from worker.stream_input import Appendable

PACKETS_BACKLOG_BYTES = 16 << 20
"""What a source of packets keeps in memory before its host has to wait."""


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """A stream that has been asked for, read and checked."""

    source: StreamSource
    models: tuple[int, ...]
    """Slots that each frame goes through; its results stand in this order."""
    options: StreamOptions
    request_options: RequestOptions
    """Of each frame's inference."""
    config: WorkerConfig

    @property
    def kind(self) -> str:
        """The source's type, as on the wire."""
        return str(type(self.source).__struct_config__.tag)

    @property
    def is_fed(self) -> bool:
        """Whether the host sends what is decoded."""
        return isinstance(self.source, PushFrom | PacketsFrom)

    @property
    def is_live(self) -> bool:
        """Whether frames come at their own pace, so that a late one is worth little."""
        source = self.source
        return isinstance(source, CameraFrom | ScreenFrom) or (
            isinstance(source, UrlFrom) and source.url.lower().startswith("rtsp")
        )

    @property
    def drop(self) -> Drop:
        """What happens to frames that come faster than the models take them."""
        if self.options.drop is not None:
            return Drop(self.options.drop)
        return Drop.OLDEST if self.is_live else Drop.NONE

    @property
    def settings(self) -> DecodeSettings:
        """How frames are decoded and chosen."""
        options = self.options
        return DecodeSettings(
            threads=options.threads,
            hwaccel=None if options.hwaccel == "none" else options.hwaccel,
            keyframes_only=options.keyframes_only,
            every_nth=options.every_nth,
            max_fps=options.max_fps,
            rotate=options.rotate,
            max_pixels=self.config.limits.max_pixels,
            live=self.is_live,
        )


def make_source(plan: StreamPlan) -> FrameSource:
    """Return the source of a stream. It opens nothing yet and imports no library: its thread will.

    The classes are imported one kind at a time: most hosts open no stream.
    """
    return _MAKERS[type(plan.source)](plan, plan.source)


def input_of(source: FrameSource) -> Appendable:
    """Return a source of a plan that `is_fed` as what it is fed by."""
    return cast("Appendable", source)


def _push(plan: StreamPlan, _source: PushFrom) -> FrameSource:
    from streaming.push import PushSource  # noqa: PLC0415

    config = plan.config
    folder = None if config.stream_dir is None else Path(config.stream_dir)
    return PushSource(plan.settings, temp_dir=folder, max_bytes=config.limits.stream_buffer_bytes)


def _packets(plan: StreamPlan, _source: PacketsFrom) -> FrameSource:
    from streaming.packets import PacketsSource  # noqa: PLC0415

    return PacketsSource(plan.settings, backlog_bytes=PACKETS_BACKLOG_BYTES)


def _file(plan: StreamPlan, source: FileFrom) -> FrameSource:
    from streaming.file import FileSource  # noqa: PLC0415

    return FileSource(source.path, plan.settings, start_frame=source.start_frame, end_frame=source.end_frame)


def _url(plan: StreamPlan, source: UrlFrom) -> FrameSource:
    from streaming.url import UrlSource  # noqa: PLC0415

    return UrlSource(
        source.url, plan.settings, reconnect=source.reconnect, timeout_s=source.timeout_ms / 1000
    )


def _camera(plan: StreamPlan, source: CameraFrom) -> FrameSource:
    from streaming.camera import CameraSource  # noqa: PLC0415

    return CameraSource(
        source.index, width=source.width, height=source.height, fps=source.fps, settings=plan.settings
    )


def _screen(plan: StreamPlan, source: ScreenFrom) -> FrameSource:
    from streaming.screen import ScreenSource  # noqa: PLC0415

    return ScreenSource(source.region, fps=source.fps, settings=plan.settings)


# Any: each function takes the one source that the table gives it.
_MAKERS: dict[type[StreamSource], Callable[[StreamPlan, Any], FrameSource]] = {
    PushFrom: _push,
    PacketsFrom: _packets,
    FileFrom: _file,
    UrlFrom: _url,
    CameraFrom: _camera,
    ScreenFrom: _screen,
}
