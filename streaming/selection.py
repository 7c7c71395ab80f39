"""Chooses which frames of a stream are given."""

from streaming.settings import DecodeSettings


class Selection:
    """Asked once for every frame, in the order in which they are shown."""

    def __init__(self, settings: DecodeSettings, start_frame: int = 0, end_frame: int | None = None) -> None:
        """Create it.

        Args:
            settings: `keyframes_only`, then `every_nth`, then `max_fps` choose from what is left.
            start_frame: number of the first frame that may be given.
            end_frame: number of the first that is not any more.
        """
        self._keyframes_only = settings.keyframes_only
        self._every_nth = settings.every_nth
        self._period_ms = 1000 / settings.max_fps if settings.max_fps else 0.0
        self._start, self._end = start_frame, end_frame
        self._candidates = 0
        self._due_ms: float | None = None
        self.everything = not (settings.keyframes_only or settings.every_nth > 1 or settings.max_fps)
        """Whether every frame is given, but for those before the start and after the end."""

    def ended(self, number: int) -> bool:
        """Whether no frame from this number on is given."""
        return self._end is not None and number >= self._end

    def wants(self, number: int, timestamp_ms: float, keyframe: bool) -> bool:
        """Whether this frame is given; counts it."""
        if number < self._start or self.ended(number) or (self._keyframes_only and not keyframe):
            return False
        place = self._candidates
        self._candidates += 1
        return place % self._every_nth == 0 and self._is_due(timestamp_ms)

    def _is_due(self, timestamp_ms: float) -> bool:
        """Whether a period has passed; the grid stays: of 30 fps, at most 20 are 20, not 15."""
        if not self._period_ms:
            return True
        due = self._due_ms
        if (
            due is not None
            and timestamp_ms < due - _SLACK_MS
            and timestamp_ms > due - _JUMP_MS - self._period_ms
        ):
            return False
        late = due is None or abs(timestamp_ms - due) >= self._period_ms
        self._due_ms = (timestamp_ms if late or due is None else due) + self._period_ms
        return True


_SLACK_MS = 1.0
"""Containers round to a millisecond: a frame may come this much before its time."""
_JUMP_MS = 1000.0
"""Timestamps that go back by more than this have begun anew."""
