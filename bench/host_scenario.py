"""What is measured of the host libraries: scenarios whose requests the library's own driver sends."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeAlias

from msgspec import field

from bench.scenario_base import Base, Positive, Seconds
from bench.target import Metric

Language: TypeAlias = Literal["node", "rust"]
"""A host library."""


@dataclass(frozen=True, slots=True)
class HostInput:
    """What a driver sends."""

    word: str
    """As the driver is told."""
    width: int
    height: int
    by_generator: bool = True
    """Whether the generator sends the same under the same name."""
    languages: tuple[Language, ...] = ("node", "rust")
    """Those that can."""


HOST_INPUTS: Mapping[str, HostInput] = {
    "raw 640": HostInput("raw", 640, 640),
    "raw 1080p": HostInput("raw", 1920, 1080),
    "cached": HostInput("cached", 640, 640),
    "shared 640": HostInput("shared", 640, 640, by_generator=False),
    "shared 1080p": HostInput("shared", 1920, 1080, by_generator=False),
    "in place 640": HostInput("in_place", 640, 640, by_generator=False, languages=("rust",)),
    "in place 1080p": HostInput("in_place", 1920, 1080, by_generator=False, languages=("rust",)),
}
"""By the name that scenarios use. `shared` copies every picture into its slot of a ring: the host's one
copy is in the figure, where the generator writes the pixels beforehand. `in place` does as the generator."""


class Hosted(Base, frozen=True, kw_only=True):
    """One worker behind a host library."""

    DRIVEN: ClassVar[bool] = False

    language: Language
    model: str
    """As of every other scenario."""
    input: str
    """A key of `HOST_INPUTS`."""
    in_flight: Positive = 8
    concurrency: Positive = 2
    config: dict[str, Any] = field(default_factory=dict)
    """What the handshake says besides the defaults."""
    model_config: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_input(self.input)

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def _check_input(self, name: str) -> None:
        able = [key for key, each in HOST_INPUTS.items() if self.language in each.languages]
        if name not in able:
            raise ValueError(f"{self.language} has no input {name!r}: expected one of {', '.join(able)}")


class HostRatio(Hosted, frozen=True, kw_only=True, tag="host-ratio"):
    """Requests a second of a driver against the generator's, or against its own with another input."""

    METRICS = frozenset({Metric.RATIO, Metric.P50_RATIO})

    rival_input: str = ""
    """What the same driver sends as the rival; "": the rival is the generator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rival_input:
            self._check_input(self.rival_input)
        elif not HOST_INPUTS[self.input].by_generator:
            raise ValueError(f"the generator does not send {self.input!r}: name a rival_input")

    def _made_name(self) -> str:
        over = f" over {self.rival_input}" if self.rival_input else ""
        return f"host {self.language} {self.model} {self.input}{over} x{self.in_flight}"


class HostLag(Hosted, frozen=True, kw_only=True, tag="host-lag"):
    """How late a timer of 5 ms is in the event loop that also sends the frames of several cameras."""

    METRICS = frozenset({Metric.LAG_P99, Metric.FRESH})

    sources: Positive = 8
    fps: Positive = 30
    """Of each source."""
    seconds: Seconds = 20.0
    """In all; the rounds share them."""

    def _made_name(self) -> str:
        return f"host {self.language} timer lag, {self.input} of {self.sources} x {self.fps} fps"


class HostKills(Hosted, frozen=True, kw_only=True, tag="host-kills"):
    """Requests whose answers are checked, while the worker is killed again and again.

    The model has to answer with the number that a picture carries: `fake:echo`.
    """

    METRICS = frozenset({Metric.REJECTED_OR_WRONG, Metric.WRONG, Metric.REJECTION_MS})

    requests: Positive = 10_000
    kills: Positive = 20
    retries: int = 0
    """How often the library may send a request again after a death."""

    def _made_name(self) -> str:
        retries = f"{self.retries} retries" if self.retries else "no retry"
        return f"host {self.language} {self.kills} kills, {retries}"


class HostRecycle(Hosted, frozen=True, kw_only=True, tag="host-recycle"):
    """Latency under full load while one worker after another takes the place of the last."""

    METRICS = frozenset({Metric.FAILED, Metric.RECYCLED_P99})

    seconds: Seconds = 60.0
    every_s: Seconds = 5.0
    """From one recycle to the next."""
    calm_seconds: Seconds = 20.0
    """The same load without one, before."""

    def _made_name(self) -> str:
        return f"host {self.language} recycle every {self.every_s:g} s"
