"""A frame of a stream on its way through the stream's models, and the events that a host sees."""

from typing import Any

from msgspec import Raw

from streaming.base import VideoFrame
from worker.requests import Request
from worker.responses import encode_fields


class FrameInFlight:
    """The results of one frame, one a model. Belongs to the event loop; keeps no pixels."""

    def __init__(self, frame: VideoFrame, models: int) -> None:
        self._frame_number = frame.frame_number
        self._timestamp_ms = round(frame.timestamp_ms, 3)
        self._size = frame.width, frame.height
        self._results = [Raw()] * models
        self._missing = models
        self.parts: list[Request] = []
        """What was asked of each model."""

    @property
    def is_done(self) -> bool:
        """Whether every model has answered."""
        return not self._missing

    def put(self, position: int, body: bytes) -> None:
        """Take the answer of one model, encoded."""
        self._results[position] = Raw(body)
        self._missing -= 1
        if self.is_done:
            self.parts = []  # no cycle is left for a collection

    def event(self) -> bytes:
        """Return the event that tells the results."""
        width, height = self._size
        return encode_fields(
            {
                "event": "frame",
                "frameNumber": self._frame_number,
                "timestampMs": self._timestamp_ms,
                "width": width,
                "height": height,
                "results": self._results,
            }
        )


def opened_event(stream_id: int, source: str, credit: int) -> dict[str, Any]:
    """Return the first event of a stream."""
    return {"event": "opened", "streamId": stream_id, "source": source, "credit": credit}


def end_event(frames: int, dropped: int, reason: str) -> dict[str, Any]:
    """Return the last event of a stream that has not failed."""
    return {"event": "end", "final": True, "frames": frames, "dropped": dropped, "reason": reason}
