"""Takes all that a source gives, on the test's own thread."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streaming.base import FrameSource, StreamEvent, VideoFrame
from streaming.errors import StreamError


@dataclass
class Played:
    """What came, in order, and how it ended."""

    things: list[VideoFrame | StreamEvent] = field(default_factory=list)
    error: StreamError | None = None

    @property
    def frames(self) -> list[VideoFrame]:
        return [thing for thing in self.things if isinstance(thing, VideoFrame)]

    @property
    def events(self) -> list[StreamEvent]:
        return [thing for thing in self.things if isinstance(thing, StreamEvent)]

    @property
    def names(self) -> list[str]:
        """The events' names, and "frames" for any number of frames between them."""
        names: list[str] = []
        for thing in self.things:
            name = thing.name if isinstance(thing, StreamEvent) else "frames"
            if names[-1:] != ["frames"] or name != "frames":
                names.append(name)
        return names

    @property
    def run(self) -> int:
        """Frames since the last event."""
        events = [place for place, thing in enumerate(self.things) if isinstance(thing, StreamEvent)]
        return len(self.things) - 1 - events[-1] if events else len(self.things)


def play(
    source: FrameSource,
    *,
    each: Callable[[Played], None] = lambda played: None,
    told: Callable[[StreamEvent], None] = lambda event: None,
) -> Played:
    """Take everything to the end.

    Args:
        source: closed afterwards.
        each: called after each frame with what there was so far.
        told: called with each event.
    """
    played = Played()

    def notify(event: StreamEvent) -> None:
        played.things.append(event)
        told(event)

    try:
        for frame in source.frames(notify):
            played.things.append(frame)
            each(played)
    except StreamError as error:
        played.error = error
    finally:
        source.close()
    return played
