"""What `detect` tells of its outcomes: JSON lines for a program, a table for a person."""

import os
import sys
import time
from collections import Counter
from typing import Any, Protocol

import msgspec

from worker.cli.detecting import Outcome
from worker.cli.table import table
from worker.cli.terminal import STDERR, STDOUT, columns, wrapped

_MOST_ROWS = 40
"""Of the table: of a folder of thousands, the sums tell more."""


class Report(Protocol):
    """Takes outcomes as they come."""

    def add(self, outcome: Outcome) -> None:
        """Take one."""

    def finish(self) -> None:
        """Tell what is left to tell."""


class JsonLines:
    """One object a picture, written at once: `file`, the answer or the error, `copy` where there is one."""

    def add(self, outcome: Outcome) -> None:
        copy = {"copy": str(outcome.copy)} if outcome.copy else {}
        line = msgspec.json.encode({"file": outcome.name, **outcome.answer, **copy})
        sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Nothing is left."""


class SummaryTable:
    """A row a picture, and the sums."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, ...]] = []
        self._pictures = 0
        self._failed = 0
        self._detects = False
        self._objects: Counter[str] = Counter()
        self._began = time.perf_counter()

    def add(self, outcome: Outcome) -> None:
        self._pictures += 1
        self._failed += outcome.failed
        self._detects |= "detections" in outcome.answer
        self._objects.update(_classes(outcome.answer))
        if len(self._rows) < _MOST_ROWS:
            self._rows.append(_row(outcome))

    def finish(self) -> None:
        seconds = time.perf_counter() - self._began
        if self._pictures == self._failed:  # each has been told of already
            print(self._sums())
            return
        print(table(("picture", "size", "ms", "found"), self._tidy_rows(), width=columns(), words=(0, 3)))
        if self._pictures > len(self._rows):
            print(f"… and {self._pictures - len(self._rows)} more; --json tells of each")
        print(f"\n{self._sums()} in {seconds:.1f} s ({self._pictures / seconds:.1f} a second)")
        if self._objects:
            print(wrapped(_counted(self._objects), 0))

    def _tidy_rows(self) -> list[tuple[str, ...]]:
        """Return the rows without the folder that all their names begin with."""
        shared = os.path.commonprefix([row[0] for row in self._rows])  # noqa: RUF071 - cut below
        begin = shared.rfind("/") + 1
        return [(row[0][begin:], *row[1:]) for row in self._rows]

    def _sums(self) -> str:
        objects = [_number(self._objects.total(), "object")] if self._detects else []
        failed = f"{self._failed} failed"
        return ", ".join(
            (_number(self._pictures, "picture"), *objects, STDOUT.bad(failed) if self._failed else failed)
        )


def failure_line(outcome: Outcome) -> str:
    """Return one line about a picture that failed, for stderr."""
    return f"{STDERR.bad('✗')} {outcome.name}: {_reason(outcome.answer)}"


def _row(outcome: Outcome) -> tuple[str, ...]:
    answer = outcome.answer
    if outcome.failed:
        return outcome.name, "", "", f"✗ {answer['code']}"
    return outcome.name, answer["frameSize"], f"{answer['inferenceMs']:.1f}", _found(answer)


def _found(answer: dict[str, Any]) -> str:
    if "tensors" in answer:
        shapes = {name: "x".join(map(str, tensor["shape"])) for name, tensor in answer["tensors"].items()}
        return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    return _counted(Counter(_classes(answer))) or "nothing"


def _classes(answer: dict[str, Any]) -> list[str]:
    return [
        str(found.get("className", found.get("classId", "object"))) for found in answer.get("detections", ())
    ]


def _counted(names: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in names.most_common())


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _reason(answer: dict[str, Any]) -> str:
    """The error without its wire prefix, which says what hosts match on and a person knows anyway."""
    text = str(answer["error"])
    return text.removeprefix("jpeg decode failed: ")
