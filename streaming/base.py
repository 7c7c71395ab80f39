"""The seam of this room: a source gives frames on a thread of its own, whatever it reads from."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.options import ColorSpace
from protocol.pixel_format import PixelFormat


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One picture of a stream, upright and with square pixels."""

    frame_data: NDArray[np.uint8]
    """uint8, C-contiguous: (height, width, channels) for RGB, BGR, RGBA and BGRA, (height, width) for GRAY,
    (height * 3 / 2, width) for I420 and NV12 of limited range, (bytes,) for ENCODED."""
    format: PixelFormat
    width: int
    """Pixels; 0 while encoded and not yet known."""
    height: int
    timestamp_ms: float
    """Milliseconds as the container has them, not shifted to 0; of a camera or a screen: since it was
    opened; of frames that came with a header: what that says."""
    frame_number: int
    """Place among all frames of the source in the order in which they are shown, from 0; those that were
    left out (by `max_fps` and the like) count."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else is known: `keyframe` (bool), `damaged` (bool, only where true)."""
    color_space: ColorSpace | None = None
    """The matrix of I420 and NV12; None where the stream does not say."""


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """Something about a stream that is no frame; told between the frames, in order."""

    name: str
    """"started", "needsTail", "reconnecting", "reconnected"."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """JSON values, camelCase."""


Notify = Callable[[StreamEvent], None]


class FrameSource(Protocol):
    """Where frames come from."""

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Open the source and give its frames to the end; blocks.

        Called once, on a thread of its own, and closed there when no more frames are wanted. `notify` is
        called on that thread, between frames; "started" comes before the first frame.

        Raises:
            StreamError: after the frames that there were.
        """
        ...

    def close(self) -> None:
        """Make `frames` end soon, without an error; from any thread, at any time, any number of times."""
        ...
