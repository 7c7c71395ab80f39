"""One finding of the doctor's."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How it is."""

    GOOD = "good"
    ABSENT = "absent"
    """Not there, and nothing fails without it."""
    BAD = "bad"


MARKS = {State.GOOD: "✓", State.ABSENT: "–", State.BAD: "✗"}  # noqa: RUF001 - a dash it is


@dataclass(frozen=True, slots=True)
class Check:
    """One line."""

    name: str
    state: State
    text: str
    then: str = ""
    """What to do about it, steps separated by "; "."""
    needed: bool = False
    """Whether the worker cannot serve at all where this is bad."""

    def as_fields(self) -> dict[str, Any]:
        """Return it for JSON."""
        then = {"next": self.then} if self.then else {}
        return {"name": self.name, "state": self.state, "text": self.text, **then, "needed": self.needed}


def good(name: str, text: str, *, needed: bool = False) -> Check:
    """Return a line about what works."""
    return Check(name, State.GOOD, text, needed=needed)


def absent(name: str, text: str, then: str = "") -> Check:
    """Return a line about what is not there."""
    return Check(name, State.ABSENT, text, then)


def bad(name: str, text: str, then: str, *, needed: bool = False) -> Check:
    """Return a line about what is broken."""
    return Check(name, State.BAD, text, then, needed)
