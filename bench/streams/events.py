"""The events of streams, as far as the bench looks at them."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from bench.sides import SideFailedError

FEATURE = "stream"


class EventError(SideFailedError):
    """A stream, or one of its frames, failed."""


class Result(Struct, frozen=True):
    """What one model made of a frame."""

    error: str | None = None


class Event(Struct, frozen=True, rename="camel"):
    """Any event, or the answer to a command."""

    event: str = ""
    frame_number: int = -1
    results: list[Result] = []
    bytes: int = 0
    credit: int = 0
    error: str = ""
    code: str = ""
    final: bool = False
    frames: int | None = None
    """That the source has, or that were answered; None where that is not known."""
    dropped: int = 0

    def check(self) -> None:
        """Raise EventError where it tells a failure."""
        errors = [self.error, *(result.error for result in self.results)]
        if found := next((each for each in errors if each), ""):
            raise EventError(f"{found} ({self.code})" if self.code else found)


def check_started(ready: Mapping[str, Any]) -> list[str]:
    """Return the features that a ready answer lacks; raises EventError where it tells a failure."""
    for answer in (ready, *ready.get("slots", ())):
        if answer.get("error"):
            raise EventError(str(answer["error"]))
    return [] if FEATURE in ready.get("features", ()) else [FEATURE]
