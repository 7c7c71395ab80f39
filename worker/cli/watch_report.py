"""What `watch` tells: a line that moves, JSON lines or a table, and how it went at the end."""

import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from worker.cli.progress import Progress
from worker.cli.table import table
from worker.cli.terminal import STDERR, columns, note, wrapped
from worker.client import StreamEvent
from worker.client_events import FrameEvent, StartedEvent

_BAR_COLUMNS = 16
_REDRAW_S = 0.1
"""Counts that change faster cannot be read."""
_SPEED_S = 3.0
"""Over which the frames a second are taken."""


@dataclass(slots=True)
class _Seen:
    """What is known of one class."""

    frames: int = 0
    """In which it was."""
    most: int = 0
    """Of it at once."""
    first_ms: float = 0.0


class Tally:
    """Counts over a whole stream."""

    def __init__(self) -> None:
        self.frames = 0
        self.failed = 0
        self.classes: dict[str, _Seen] = {}
        self.detects = False
        self.began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.began

    def add(self, event: FrameEvent) -> Counter[str]:
        """Count a frame, and return what is in it by class."""
        result = event["results"][0]
        self.frames += 1
        self.failed += "error" in result
        self.detects |= "detections" in result
        now = Counter(_classes(result))
        for name, count in now.items():
            seen = self.classes.setdefault(name, _Seen(first_ms=event["timestampMs"]))
            seen.frames += 1
            seen.most = max(seen.most, count)
        return now


class Frames(Protocol):
    """Where the results of the frames go."""

    def add(self, event: FrameEvent) -> None:
        """Take a frame."""

    def finish(self, tally: Tally) -> None:
        """Tell what is left to tell."""


class JsonLines:
    """One object a frame, written at once: number, time, size, and the answer or the error."""

    def add(self, event: FrameEvent) -> None:
        about = {name: event[name] for name in ("frameNumber", "timestampMs", "width", "height")}
        sys.stdout.buffer.write(msgspec.json.encode({**about, **event["results"][0]}) + b"\n")
        sys.stdout.buffer.flush()

    def finish(self, tally: Tally) -> None:
        """Nothing is left."""


class SummaryTable:
    """A row a class."""

    def add(self, event: FrameEvent) -> None:
        pass

    def finish(self, tally: Tally) -> None:
        rows = [
            (
                name,
                str(seen.most),
                str(seen.frames),
                f"{seen.frames / tally.frames:.0%}",
                clock(seen.first_ms),
            )
            for name, seen in sorted(tally.classes.items(), key=lambda item: (-item[1].frames, item[0]))
        ]
        if rows:
            print(table(("class", "most at once", "frames", "of all", "first at"), rows, width=columns()))
        elif tally.detects:
            print("nothing was found")


class Watcher:
    """Takes a stream's events, and tells of them."""

    def __init__(self, frames: Frames) -> None:
        self._frames = frames
        self._progress = Progress()
        self._tally = Tally()
        self._started: StartedEvent | None = None
        self._drawn = float("-inf")
        self._answered: deque[float] = deque()

    @property
    def tally(self) -> Tally:
        return self._tally

    def take(self, event: StreamEvent, dropped: int | None) -> None:
        """Take an event, and the number of frames that were dropped so far, where that is known."""
        if event["event"] == "frame":
            self._take_frame(event, dropped)
        elif event["event"] == "started":
            self._started = event
            self._tell_hardware(event)
        elif event["event"] == "reconnecting" and event["attempt"] > 1:
            self._progress.status(_AGAIN.format_map(event))
        elif event["event"] in _TOLD:
            self._progress.clear()
            note(_TOLD[event["event"]].format_map(event))

    def finish(self, dropped: int | None) -> None:
        """Tell how it went; nothing where no frame came."""
        self._progress.clear()
        tally = self._tally
        if not tally.frames:
            return
        self._frames.finish(tally)
        seconds = tally.seconds
        parts = [
            f"{_number(tally.frames, 'frame')} in {seconds:.1f} s ({tally.frames / seconds:.1f} a second)"
        ]
        if dropped:
            parts.append(f"{dropped} dropped")
        if tally.failed:
            parts.append(STDERR.bad(f"{tally.failed} failed"))
        print(wrapped(", ".join(parts), 0), file=sys.stderr)

    def clear(self) -> None:
        """Take the moving line away."""
        self._progress.clear()

    def _take_frame(self, event: FrameEvent, dropped: int | None) -> None:
        now_in_it = self._tally.add(event)
        result = event["results"][0]
        if "error" in result and self._tally.failed == 1:
            self._progress.clear()
            note(f"frame {event['frameNumber']}: {result['error']}; further ones are only counted")
        self._frames.add(event)
        now = time.perf_counter()
        self._answered.append(now)
        while self._answered[0] < now - _SPEED_S:
            self._answered.popleft()
        if now - self._drawn >= _REDRAW_S:
            self._drawn = now
            self._progress.status(self._line(event, now_in_it, dropped))

    def _line(self, event: FrameEvent, now_in_it: Counter[str], dropped: int | None) -> str:
        position = event["timestampMs"]
        whole = self._started["durationMs"] if self._started else None
        parts = (
            [f"{_bar(position / whole)}  {clock(position)}/{clock(whole)}"] if whole else [clock(position)]
        )
        parts.append(f"{self._speed():.1f} fps")
        if dropped:
            parts.append(f"{dropped} dropped")
        if self._tally.detects:
            parts.append(_now_and_most(now_in_it, self._tally.classes))
        return "  ".join(parts)

    def _speed(self) -> float:
        past = min(_SPEED_S, self._tally.seconds)
        return len(self._answered) / max(past, 1e-6)

    def _tell_hardware(self, event: StartedEvent) -> None:
        if why := event.get("hardwareFallback"):
            self._progress.clear()
            note(f"decoded in software: {why}")


_TOLD = {
    "needsTail": "the video's index is at its end: frames come once all of it is there",
    "reconnecting": "{error}; it is tried again until Ctrl-C",
    "reconnected": "connected again",
}
_AGAIN = "not connected ({reason}): attempt {attempt} in {inMs:.0f} ms"


def clock(milliseconds: float) -> str:
    """Return 65,000 as "1:05"."""
    minutes, seconds = divmod(int(milliseconds // 1000), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _bar(fraction: float) -> str:
    filled = round(_BAR_COLUMNS * min(1.0, max(0.0, fraction)))
    return "█" * filled + "░" * (_BAR_COLUMNS - filled)


def _now_and_most(now: Counter[str], classes: Mapping[str, _Seen]) -> str:
    """Return "2 person (most 5), 0 car (most 1)": what comes and goes keeps its place."""
    order = sorted(classes, key=lambda name: (-classes[name].most, name))
    return ", ".join(f"{now[name]} {name} (most {classes[name].most})" for name in order) or "nothing yet"


def _classes(result: Mapping[str, Any]) -> Iterable[str]:
    for found in result.get("detections", ()):
        yield str(found.get("className", found.get("classId", "object")))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
