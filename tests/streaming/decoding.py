"""Decodes clips in memory, for tests."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.base import StreamEvent, VideoFrame
from streaming.errors import StreamError
from streaming.settings import Access, DecodeSettings
from streaming.video import decode_video
from tests.streaming.clips import LEVELS, number_of

REORDERED = {"preset": "medium", "x264-params": "scenecut=0:b-adapt=0"}


class ForwardOnly:
    """A file object as a growing one is: it can be read, and that is all."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)
        self.given = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.given += len(data)
        return data


def never() -> bool:
    return False


def decode(
    data: bytes,
    *,
    file: Callable[[bytes], Any] = io.BytesIO,
    first: int = 0,
    end: int | None = None,
    **settings: Any,
) -> tuple[list[VideoFrame], list[StreamEvent], StreamError | None]:
    """Return frames, events, and the error at the end."""
    frames: list[VideoFrame] = []
    events: list[StreamEvent] = []
    try:
        for frame in decode_video(
            file(data), DecodeSettings(**settings), Access(()), events.append, never, first, end
        ):
            frames.append(frame)  # noqa: PERF402 - those before an error are kept
    except StreamError as error:
        return frames, events, error
    return frames, events, None


def numbers(frames: list[VideoFrame]) -> list[int]:
    """Return the numbers of the frames, which have to be those of their pictures."""
    assert [number_of(frame.frame_data, frame.height) for frame in frames] == [
        frame.frame_number % LEVELS for frame in frames
    ]
    return [frame.frame_number for frame in frames]


def noise(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture that takes many bytes."""
    random = np.random.default_rng(number)
    return random.integers(16, 235, (height, width), dtype=np.uint8)
