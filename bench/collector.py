"""Reads every answer in a thread of its own: when it came, and whether it was an error."""

import threading
import time
from collections import Counter

import msgspec

from bench.link import Link, SubjectEndedError


class Outcome(msgspec.Struct, frozen=True):
    """What an answer says of itself; anything else in it is passed over."""

    code: str = ""
    """Of an error; "" for a result."""
    cancelled: int = 0
    """In the answer to `cancel`."""
    status: str = ""
    timings: dict[str, float] = {}


_decoder = msgspec.json.Decoder(Outcome)


def read_outcome(body: bytes) -> Outcome:
    """Decode an answer."""
    return _decoder.decode(body)


class Collector(threading.Thread):
    """Takes so many answers, and ends."""

    def __init__(self, link: Link, count: int) -> None:
        """Create it; ids are 0 to `count` - 1."""
        super().__init__(name="collector", daemon=True)
        self._link = link
        self.answered_at = [0.0] * count
        """By id; 0: not yet."""
        self.codes: Counter[str] = Counter()
        """Of the answers that were errors."""
        self.failed: set[int] = set()
        """Their ids."""
        self.error: Exception | None = None

    def run(self) -> None:
        """Read until all are there."""
        left = len(self.answered_at)
        try:
            while left:
                answers = self._link.answers()
                now = time.perf_counter()
                left -= len(answers)
                for request_id, body in answers:
                    self.answered_at[request_id] = now
                    if b'"code"' in body and (code := read_outcome(body).code):
                        self.codes[code] += 1
                        self.failed.add(request_id)
        except (SubjectEndedError, OSError, msgspec.DecodeError) as error:
            self.error = error
