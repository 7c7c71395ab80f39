"""Groups that wait for their turn: by priority, and within a priority by turns among the sources."""

from collections import OrderedDict
from dataclasses import dataclass, field

from worker.requests import Group

Source = str | None
"""Which camera; None: the requests that name none are one source together."""

_REMEMBERED = 256
"""Sources without waiting groups of which it is known how much they have had."""

_CREDIT = 4
"""Items by which a source that was idle goes before those that waited meanwhile: a camera that sends
little hardly feels one that floods."""

_LATE = 8
"""Items that others may be served before a new source at most, each."""

_RECENT = 64
"""Items within which another source makes a queue a shared one."""


@dataclass(slots=True, eq=False)
class _Line:
    """The waiting groups of one source, oldest first."""

    had: int
    """Items that it was served, counted from where it joined the others."""
    groups: OrderedDict[Group, None] = field(default_factory=OrderedDict)


class _Turns:
    """The sources of one priority: who has had the fewest items is next, of equals who waits longest.

    A source that was idle goes a little before the others and saves up no more. One that was never seen
    begins behind those who wait already, so that ever new names keep nobody out.
    """

    def __init__(self) -> None:
        self._lines: dict[Source, _Line] = {}
        self._had: OrderedDict[Source, int] = OrderedDict()
        """Of sources that have nothing waiting, those that left last at the end."""
        self._most = 0
        """What the source that has had the most has had."""

    def add(self, group: Group) -> None:
        line = self._lines.get(group.source)
        if line is None:
            line = self._lines[group.source] = _Line(self._joins_at(group.source))
        line.groups[group] = None

    def next_source(self) -> Source:
        """Whose turn it is; there is one."""
        if len(self._lines) == 1:
            return next(iter(self._lines))
        return min(self._lines, key=self._had_by)

    def pop(self, source: Source) -> Group:
        line = self._lines[source]
        group, _ = line.groups.popitem(last=False)
        line.had += len(group.items)
        self._most = max(self._most, line.had)
        if not line.groups:
            self._forget(source, line)
        return group

    def remove(self, group: Group) -> None:
        line = self._lines[group.source]
        del line.groups[group]
        if not line.groups:
            self._forget(group.source, line)

    def __bool__(self) -> bool:
        return bool(self._lines)

    def _joins_at(self, source: Source) -> int:
        known = self._had.pop(source, None)
        if not self._lines:
            return self._most if known is None else max(known, self._most - _CREDIT)
        least = min(line.had for line in self._lines.values())
        return min(self._most, least + _LATE) if known is None else max(known, least - _CREDIT)

    def _had_by(self, source: Source) -> int:
        return self._lines[source].had

    def _forget(self, source: Source, line: _Line) -> None:
        del self._lines[source]
        self._had[source] = line.had
        if len(self._had) > _REMEMBERED:
            self._had.popitem(last=False)


class FairQueue:
    """All groups that wait for one model. Not thread-safe: its owner's lock guards it."""

    def __init__(self) -> None:
        self._turns: dict[int, _Turns] = {}
        self._priorities: list[int] = []
        """Those that have been seen, the most urgent first."""
        self._turns_began = False
        self._last: Source = None
        self._since_other = _RECENT
        """Items of the last source since another one had a turn."""
        self.items = 0
        """How many items wait."""

    @property
    def is_shared(self) -> bool:
        """Whether several sources have had turns of late."""
        return self._since_other < _RECENT

    def add(self, group: Group) -> None:
        """Queue a group under its priority and source."""
        turns = self._turns.get(group.priority)
        if turns is None:
            turns = self._turns[group.priority] = _Turns()
            self._priorities = sorted(self._turns)
        turns.add(group)
        self.items += len(group.items)

    def pop(self, *, other: bool = False) -> Group | None:
        """Take the group whose turn it is; None where nothing waits.

        Args:
            other: only of another source than the last one.
        """
        for priority in self._priorities:
            turns = self._turns[priority]
            if not turns:
                continue
            source = turns.next_source()
            if other and source == self._last:
                return None
            group = turns.pop(source)
            self._count(source, len(group.items))
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

    def _count(self, source: Source, items: int) -> None:
        self.items -= items
        is_other = self._turns_began and source != self._last
        self._since_other = 0 if is_other else self._since_other + items
        self._last, self._turns_began = source, True
