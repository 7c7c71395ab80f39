"""Groups that wait for their turn: by priority, and within a priority by turns among the sources."""

from collections import OrderedDict
from dataclasses import dataclass, field

from worker.requests import Group

Source = str | None
"""Which camera; None: the requests that name none are one source together."""

_REMEMBERED = 1024
"""Sources without waiting groups whose share of the past is kept at most."""


@dataclass(slots=True, eq=False)
class _Line:
    """The waiting groups of one source, oldest first."""

    start: float
    """The virtual time at which its next group may begin."""
    groups: OrderedDict[Group, None] = field(default_factory=OrderedDict)


class _Turns:
    """Start-time fair queueing (Goyal, Vin and Cheng, 1996) by items over the sources of one priority.

    Whose next group has the smallest start tag is next; a group moves its source's tag by its number
    of items. A source that was idle begins at the present, so it can save up nothing.
    """

    def __init__(self) -> None:
        self._lines: dict[Source, _Line] = {}
        self._now = 0.0
        self._ends: dict[Source, float] = {}
        """Tags ahead of the present, of sources that have nothing waiting."""

    def add(self, group: Group) -> None:
        line = self._lines.get(group.source)
        if line is None:
            start = max(self._now, self._ends.pop(group.source, 0.0))
            line = self._lines[group.source] = _Line(start)
        line.groups[group] = None

    def pop(self) -> Group | None:
        if not self._lines:
            return None
        if len(self._lines) == 1:
            (source,) = self._lines
        else:
            source = min(self._lines, key=self._start_of)
        line = self._lines[source]
        group, _ = line.groups.popitem(last=False)
        self._now = max(self._now, line.start)
        line.start += len(group.items)
        if not line.groups:
            self._forget(source, line)
        return group

    def remove(self, group: Group) -> None:
        line = self._lines[group.source]
        del line.groups[group]
        if not line.groups:
            self._forget(group.source, line)

    def _start_of(self, source: Source) -> float:
        return self._lines[source].start

    def _forget(self, source: Source, line: _Line) -> None:
        del self._lines[source]
        if not self._lines:
            self._ends.clear()  # nobody has waited: nothing is owed
            self._now = 0.0
        elif line.start > self._now:
            self._ends[source] = line.start
            if len(self._ends) > _REMEMBERED:
                self._ends = {name: end for name, end in self._ends.items() if end > self._now}


class FairQueue:
    """All groups that wait for one model. Not thread-safe: its owner's lock guards it."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turns] = {}
        self._priorities: list[int] = []
        """Those that have been seen, the most urgent first."""
        self.items = 0
        """How many items wait."""

    def add(self, group: Group) -> None:
        """Queue a group under its priority and source."""
        turns = self._turns.get(group.priority)
        if turns is None:
            turns = self._turns[group.priority] = _Turns()
            self._priorities = sorted(self._turns)
        turns.add(group)
        self.items += len(group.items)

    def pop(self) -> Group | None:
        """Take the group whose turn it is; None where nothing waits."""
        for priority in self._priorities:
            group = self._turns[priority].pop()
            if group is not None:
                self.items -= len(group.items)
                return group
        return None

    def joined(self) -> None:
        """Count an item that has joined a group in here."""
        self.items += 1

    def left(self, group: Group) -> None:
        """Count an item that has left a group in here, and take the group out where it was the last."""
        self.items -= 1
        if not group.items:
            self._turns[group.priority].remove(group)
