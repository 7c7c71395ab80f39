"""Groups that wait for their turn: by priority, and within a priority by turns among the sources."""

from collections import OrderedDict
from dataclasses import dataclass, field

from worker.requests import Group

Source = str | None
"""Which camera; None: the requests that name none are one source together."""

_REMEMBERED = 256
"""Sources without waiting groups beyond which those are looked for that are owed nothing any longer."""


@dataclass(slots=True, eq=False)
class _Line:
    """The waiting groups of one source, oldest first."""

    start: float
    """The virtual time at which its next group may begin."""
    groups: OrderedDict[Group, None] = field(default_factory=OrderedDict)


_CREDIT = 4.0
"""Items by which a source that was idle goes before those that have been waiting: a camera that sends
little hardly feels one that floods. With none its p99 behind a flood was twice as high."""


class _Turns:
    """Weighted fair queueing by items over the sources of one priority.

    The next group of each source has a start tag, and the smallest is next; a group moves the tag of its
    source by its number of items. The present moves as it would if all sources that wait were served at
    once (the virtual time of Demers, Keshav and Shenker, 1989). A source that was idle begins a little
    before the present: it saves up no more, and newcomers never keep out those who wait already.
    """

    def __init__(self) -> None:
        self._lines: dict[Source, _Line] = {}
        self._now = 0.0
        self._ends: dict[Source, float] = {}
        """Tags of sources that have nothing waiting, as long as they say more than the credit."""
        self._look_through_at = _REMEMBERED

    def add(self, group: Group) -> None:
        line = self._lines.get(group.source)
        if line is None:
            start = max(self._now - _CREDIT, self._ends.pop(group.source, -_CREDIT))
            line = self._lines[group.source] = _Line(start)
        line.groups[group] = None

    def pop(self) -> Group | None:
        lines = self._lines
        if not lines:
            return None
        source = min(lines, key=self._start_of) if len(lines) > 1 else next(iter(lines))
        line = lines[source]
        group, _ = line.groups.popitem(last=False)
        items = len(group.items)
        self._now += items / len(lines)
        line.start += items
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
        elif line.start > self._now - _CREDIT:
            self._remember(source, line.start)

    def _remember(self, source: Source, end: float) -> None:
        self._ends[source] = end
        if len(self._ends) > self._look_through_at:
            self._ends = {name: end for name, end in self._ends.items() if end > self._now - _CREDIT}
            self._look_through_at = max(_REMEMBERED, 2 * len(self._ends))


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
