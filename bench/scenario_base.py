"""What every kind of scenario has, and the words they share."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, TypeAlias

from msgspec import Meta, Struct

from bench.target import Metric, Target


class Rival(StrEnum):
    """What the worker is held against."""

    BARE = "bare loop"
    REFERENCE = "reference reader"
    WORKER = "another worker"
    IMPORTS = "imports alone"
    NONE = ""


Link: TypeAlias = Literal["pipe", "socket"]
Positive: TypeAlias = Annotated[int, Meta(ge=1)]
Seconds: TypeAlias = Annotated[float, Meta(gt=0)]
Share: TypeAlias = Annotated[float, Meta(gt=0)]


class Base(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    """What every kind has."""

    METRICS: ClassVar[frozenset[Metric]] = frozenset()
    """What it can have targets for."""
    DRIVEN: ClassVar[bool] = True
    """Whether another worker command can take a rival's place."""

    name: str = ""
    """Unique; made from the rest where it is not given."""
    targets: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        wrong = [str(target.metric) for target in self.targets if target.metric not in self.METRICS]
        if wrong:
            raise ValueError(f"this kind has no figure {wrong[0]!r}, only {', '.join(sorted(self.METRICS))}")

    @property
    def title(self) -> str:
        """The name by which it is chosen and shown."""
        return self.name or self._made_name()

    @property
    def models(self) -> tuple[str, ...]:
        """The models that must be there."""
        return ()

    def _made_name(self) -> str:
        return str(self.__struct_config__.tag)
