"""Frames that come one by one, each with a header, from whoever has them."""

from collections.abc import Callable, Generator, Iterable

from streaming.backlog import Backlog
from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.channel import Bytes, DataChannelFraming, Framing, IncomingFrame
from streaming.errors import BrokenStreamError, StreamError
from streaming.header import FrameFormat
from streaming.packet_decoders import Candidate, Damage, PacketDecoder, open_decoder
from streaming.selection import Selection
from streaming.settings import DecodeSettings


class PacketsSource:
    """Frames of what one writer appends in another thread.

    The pixels of RGB and BGR, and the files of JPEG, are given where they came: what is appended
    must not be changed afterwards. Memory is bounded by the backlog, one piece more, one frame that
    is not complete, and what the decoder holds.
    """

    def __init__(
        self,
        settings: DecodeSettings,
        *,
        backlog_bytes: int,
        framing: Framing | None = None,
        room: Callable[[], None] | None = None,
    ) -> None:
        """Create it.

        Args:
            settings: how frames are decoded and chosen. Without a pixel format, JPEG stays encoded.
            backlog_bytes: while more waits, `append` blocks.
            framing: how frames are found in what is appended; None takes items of a data channel.
            room: called when there is room after an `offer` was refused, and when nobody reads any
                more; from another thread.
        """
        self._settings = settings
        self._framing = framing or DataChannelFraming(settings.max_pixels)
        self._backlog = Backlog(backlog_bytes, room) if room else Backlog(backlog_bytes)
        self._selection = Selection(settings)
        self._damage = Damage()
        self._decoder: PacketDecoder | None = None
        self._format: FrameFormat | None = None
        self._number = 0

    def append(self, data: Bytes) -> None:
        """Take in one item of a data channel, or one chunk; blocks while too much waits.

        From one thread. After `end` and `close`, and when `frames` has ended, it goes nowhere.
        """
        self._backlog.append(data)

    def offer(self, data: Bytes) -> bool:
        """Take it in and return True; or return False at once where too much waits."""
        return self._backlog.offer(data)

    def end(self) -> None:
        """Nothing more comes; the frames of what came are still given."""
        self._backlog.end()

    def close(self) -> None:
        self._backlog.close()

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Give the frames.

        Raises:
            BadStreamError: what came breaks the rules of headers and framing.
            BrokenStreamError: at the end, where a frame was cut short or some were damaged.
            StreamTooLargeError: a frame has too many pixels or bytes.
            UnsupportedStreamError: a library is not installed.
        """
        started = False
        try:
            for frame in self._chosen(self._candidates()):
                if not started:
                    notify(self._started(frame))
                    started = True
                yield frame
            if not self._backlog.closed:
                self._finish()
        finally:
            self._backlog.close()

    def _finish(self) -> None:
        self._framing.end()
        if self._damage.count:
            raise BrokenStreamError(
                f"frames that could not be read, or not wholly: {self._damage.count}; "
                f"the first is that of {self._damage.first_ms} ms"
            )
        if self._decoder is not None and self._number == 0:
            raise BrokenStreamError("no picture can be decoded of what came: there was no key frame")

    def _candidates(self) -> Generator[Candidate, None, None]:
        try:
            while (piece := self._backlog.take()) is not None:
                for incoming in self._framing.feed(piece):
                    yield from self._decoded(incoming)
        except StreamError:
            yield from self._flushed()
            raise
        if not self._backlog.closed:
            yield from self._flushed()

    def _decoded(self, incoming: IncomingFrame) -> Generator[Candidate, None, None]:
        format_ = incoming.header.format
        if self._decoder is None or format_ is not self._format:
            yield from self._flushed()
            self._decoder = open_decoder(format_, self._settings, self._damage)
            self._format = format_
        yield from self._decoder.decode(incoming)

    def _flushed(self) -> list[Candidate]:
        return [] if self._decoder is None else self._decoder.flush()

    def _chosen(self, candidates: Iterable[Candidate]) -> Generator[VideoFrame, None, None]:
        for candidate in candidates:
            if self._backlog.closed:
                return
            number, self._number = self._number, self._number + 1
            if self._selection.wants(number, candidate.timestamp_ms, candidate.keyframe):
                frame = candidate.frame(number)
                if frame is not None:
                    yield frame

    def _started(self, first: VideoFrame) -> StreamEvent:
        assert self._decoder is not None
        aspect = self._decoder.pixel_aspect
        fields = {
            "codec": self._decoder.codec,
            "container": "packets",
            "width": first.width,
            "height": first.height,
            "fps": None,
            "durationMs": None,
            "frames": None,
            "rotation": 0,
            "pixelAspect": f"{aspect.numerator}:{aspect.denominator}",
            "hardware": None,
        }
        if self._settings.hwaccel is not None:
            fields["hardwareFallback"] = "single frames are decoded in software"
        return StreamEvent("started", fields)
