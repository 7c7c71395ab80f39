"""One open stream: frames from its source through its models, and what its host is told, in order.

A source runs on a thread of its own; everything here belongs to the event loop. In memory are the
frames that wait in the pump, and those that the models have taken and not prepared yet.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from preprocess.frame import Frame
from protocol.errors import ErrorCode
from protocol.messages import MessageType
from protocol.options import RequestOptions
from streaming.base import StreamEvent, VideoFrame
from streaming.errors import SourceUnavailableError
from streaming.pump import Drop, Ended, FramePump
from worker.asking import Asked, bind, queue
from worker.errors import CANCELLED, STREAM_OVERRUN, SUPERSEDED, Failure, failure_of
from worker.requests import Request
from worker.responses import encode_fields
from worker.service import Service
from worker.sources import PacketSource, Source, StreamSource
from worker.stream_frames import FrameInFlight, end_event, opened_event
from worker.stream_input import StreamInput
from worker.stream_sources import StreamPlan, input_of, make_source
from worker.streams import EndReason

_PUMPED = 2
"""Frames that wait in the pump: one to take at once, and one for the moment in between."""

_FRAMES_AHEAD = 32
"""More frames of one stream are not under way at once, however many the models would take."""

_DECODE_PREFIX = "frame decode failed: "


class OpenStream:
    """What has been opened, until its last event."""

    def __init__(self, service: Service, request: Request, stream_id: int, plan: StreamPlan) -> None:
        """Create it; `open` starts it.

        Args:
            service: the worker's.
            request: the opener's; it is answered by the last event.
            stream_id: the host's name for the stream.
            plan: what was asked for.
        """
        self.request_id = request.id
        self._service = service
        self._request = request
        self._stream_id = stream_id
        self._plan = plan
        self._options = _named(plan.request_options, stream_id)
        self._source = make_source(plan)
        self._pump = FramePump(self._source, _PUMPED, plan.drop, self._wake)
        self._input = self._make_input() if plan.is_fed else None
        self._line: deque[FrameInFlight | StreamEvent | Ended] = deque()
        """What the host is told next, in order; the head waits for its models."""
        self._under_way = 0
        self._frames = 0
        self._source_ended = False
        """No further frame is taken."""
        self._last_word: dict[str, object] | None = None
        """What it ends with, once that is decided."""
        self._is_told = False
        self._is_gone = False
        """The source's thread is at its end."""
        self._drains = False
        self._resumes = False

    def open(self) -> None:
        """Tell that the stream is open, and begin to read its source."""
        credit = self._service.config.limits.stream_credit_bytes if self._input else 0
        self._tell(opened_event(self._stream_id, self._plan.kind, credit))
        self._pump.start(f"stream-{self._stream_id}")
        if self._input is not None:
            self._input.start(f"stream-{self._stream_id}-in")

    def feed(self, data: memoryview) -> None:
        """Take what the host sends; more than its credit ends the stream."""
        if self._input is None:
            self.fail(Failure(ErrorCode.BAD_REQUEST, f"a {self._plan.kind} stream takes no data"))
        elif not self._input.feed(data):
            self.fail(STREAM_OVERRUN)

    def end_input(self) -> None:
        """Take note that the host sends no more."""
        if self._input is not None:
            self._input.end()

    def go_on(self) -> None:
        """Take what the pump has, as far as the models have room and the host reads."""
        if self._last_word is not None:
            self._see_off()
            return
        while self._last_word is None and not self._source_ended and not self._service.congested:
            if self._under_way >= self._room():
                return
            taken = self._pump.take()
            if taken is None:
                return
            if isinstance(taken, VideoFrame):
                self._submit(taken)
            else:
                self._source_ended = self._is_gone = isinstance(taken, Ended)
                self._line.append(taken)
                self._speak()

    def drain(self) -> None:
        """End when the frames are answered that have been taken up."""
        if self._source_ended:  # it is at its end anyway
            return
        self._drains = self._source_ended = True
        self._stop_source()
        self._line.append(Ended(None))
        self._speak()

    def end(self, reason: EndReason) -> None:
        """End at once; what has not reached predict is let go of."""
        self._finish(end_event(self._frames, self._pump.dropped, reason))

    def fail(self, failure: Failure, reason: str | None = None) -> None:
        """End at once, as failed."""
        fields = {"error": failure.text, "code": failure.code, "final": True}
        why = {} if reason is None else {"reason": reason}
        self._finish(fields | why | {"frames": self._frames, "dropped": self._pump.dropped})

    def _make_input(self) -> StreamInput:
        return StreamInput(
            input_of(self._source),
            self._service.config.limits.stream_credit_bytes,
            joins=self._plan.kind == "push",
            grant=partial(self._call, self._grant),
            fail=partial(self._call, self._fail_by),
        )

    def _call(self, method: Callable[[Any], None], value: object) -> None:
        """Have the event loop call a method, from another thread."""
        self._service.loop.call_soon_threadsafe(method, value)

    def _wake(self) -> None:
        self._service.loop.call_soon_threadsafe(self.go_on)

    def _room(self) -> int:
        """How many frames the models take at once: what they prepare ahead, and what their lanes run."""
        service = self._service
        serving = (service.slots.serving(index) for index in self._plan.models)
        plans = [model.loaded.pipeline.plan for model in serving if model is not None]
        if self._plan.drop is Drop.OLDEST:  # what is queued behind the lanes is only getting older
            return max((plan.lanes for plan in plans), default=1) + 1
        ahead = max((plan.lanes * (plan.batch_limit + 2) for plan in plans), default=2)
        return min(ahead, _FRAMES_AHEAD)

    def _submit(self, frame: VideoFrame) -> None:
        """Send a frame through every model."""
        models, options = self._plan.models, self._options
        if frame.color_space is not None and frame.color_space != options.color_space:
            options = msgspec.structs.replace(options, color_space=frame.color_space.value)
        if options.supersede:
            self._supersede()
        under_way = FrameInFlight(frame, len(models))
        self._line.append(under_way)
        self._under_way += 1
        source = _source_of(frame, len(models))
        arrived = time.perf_counter()
        for position, model in enumerate(models):
            self._ask(under_way, position, Asked(self._part(model, options), model, options, arrived), source)

    def _part(self, model: int, options: RequestOptions) -> Request:
        request = Request(self.request_id, MessageType.STREAM_DATA, None, slot=model, source=options.source)
        if options.deadline_ms is not None:
            service = self._service
            request.timer = service.loop.call_later(options.deadline_ms / 1000, service.expire, request)
        return request

    def _ask(self, frame: FrameInFlight, position: int, asked: Asked, source: Source) -> None:
        asked.request.sink = partial(self._take, frame, position)
        frame.parts.append(asked.request)
        bind(self._service, asked.model, partial(queue, self._service, asked, (source,)))

    def _supersede(self) -> None:
        for older in self._parts():
            self._service.give_up(older, SUPERSEDED)

    def _parts(self) -> list[Request]:
        """What has been asked of models and not been answered."""
        frames = [entry for entry in self._line if isinstance(entry, FrameInFlight)]
        return [part for frame in frames for part in frame.parts if not part.answered]

    def _take(self, frame: FrameInFlight, position: int, body: bytes, _code: ErrorCode | None) -> None:
        """Take one model's answer; the last of a frame makes room for the next."""
        frame.put(position, body)
        if frame.is_done:
            self._under_way -= 1
            self._speak()
            if not self._resumes:  # not at once: a frame may be answered while it is being submitted
                self._resumes = True
                self._service.loop.call_soon(self._resume)

    def _resume(self) -> None:
        self._resumes = False
        self.go_on()

    def _speak(self) -> None:
        """Tell what is at the head of the line."""
        while self._line and self._last_word is None:
            head = self._line[0]
            if isinstance(head, FrameInFlight):
                if not head.is_done:
                    return
                self._frames += 1
                self._service.tell(self._request, head.event())
            elif isinstance(head, StreamEvent):
                self._tell({"event": head.name} | dict(head.fields))
            else:
                self._end_as(head)
                return
            self._line.popleft()

    def _end_as(self, ended: Ended) -> None:
        if ended.error is None:
            self.end(EndReason.DRAINED if self._drains else EndReason.EOF)
        else:
            self._fail_by(ended.error)

    def _fail_by(self, error: Exception) -> None:
        reason = error.reason if isinstance(error, SourceUnavailableError) else None
        self.fail(failure_of(error, _DECODE_PREFIX), reason)

    def _grant(self, size: int) -> None:
        if self._last_word is None:
            self._tell({"event": "credit", "bytes": size})

    def _tell(self, fields: dict[str, object]) -> None:
        self._service.tell(self._request, encode_fields(fields))

    def _finish(self, fields: dict[str, object]) -> None:
        """Let go of everything, and then say the last word: what it had on the disk is gone by then."""
        if self._last_word is not None:
            return
        self._last_word = fields
        self._service.streams.remove(self._stream_id)  # what comes behind finds its place free
        for part in self._parts():
            self._service.give_up(part, CANCELLED)
        self._line.clear()
        self._stop_source()
        if self._is_gone:
            self._say_last()

    def _stop_source(self) -> None:
        """End the source, on a thread: it may have a large file to remove."""
        if self._input is not None:
            self._input.close()
        if not self._is_gone:
            name = f"stream-{self._stream_id}-end"
            threading.Thread(target=self._stop_pump, name=name, daemon=True).start()

    def _stop_pump(self) -> None:
        self._pump.stop()
        self._service.loop.call_soon_threadsafe(self._say_last)

    def _say_last(self) -> None:
        if self._last_word is None or self._is_told:  # it drains, or has said it
            return
        self._is_told = True
        self._service.answer_fields(self._request, self._last_word)
        self._service.streams.note_last_word(self)
        self._see_off()

    def _see_off(self) -> None:
        """Have the stream forgotten when its source has ended, too."""
        self._is_gone = self._is_gone or isinstance(self._pump.take(), Ended)
        if self._is_gone and self._is_told:
            self._service.streams.forget(self)


def _named(options: RequestOptions, stream_id: int) -> RequestOptions:
    """Streams take turns at the models as cameras do: one whose host names no source has its own."""
    if options.source is not None:
        return options
    return msgspec.structs.replace(options, source=f"stream {stream_id}")


def _source_of(frame: VideoFrame, models: int) -> Source:
    picture = Frame(frame.frame_data.reshape(-1).data, frame.width, frame.height, frame.format)
    return PacketSource(picture, _DECODE_PREFIX) if models == 1 else StreamSource(picture)
