"""The classes of a model, by id and by name, and which of them a request asks for."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from postprocessors.base import UnknownClassError


@dataclass(frozen=True, slots=True)
class ClassNames:
    """Class names by class id."""

    labels: tuple[str, ...]
    """Empty where nobody says."""
    count: int | None = None
    """How many classes there are; None: as many as labels, or unknown where there are none."""
    _ids: dict[str, tuple[int, ...]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for class_id, label in enumerate(self.labels):  # a name may stand for several classes
            self._ids[label] = (*self._ids.get(label, ()), class_id)

    def wanted(self, classes: Sequence[int | str] | None) -> list[int] | None:
        """Return the ids of a request's `classes`; None for all.

        Raises:
            UnknownClassError: the model has no such class.
        """
        if classes is None:
            return None
        return [class_id for wanted in classes for class_id in self._ids_of(wanted)]

    def _ids_of(self, wanted: int | str) -> tuple[int, ...]:
        if isinstance(wanted, str):
            if wanted not in self._ids:
                raise UnknownClassError(f'the model has no class "{wanted}"')
            return self._ids[wanted]
        count = self.count or len(self.labels) or None
        if wanted < 0 or (count is not None and wanted >= count):
            raise UnknownClassError(f"the model has no class {wanted}")
        return (wanted,)
