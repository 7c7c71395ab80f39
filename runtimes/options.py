"""What a slot asks of its runtime."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """How to compile one model."""

    device: str = ""
    """As configured, any case; "" is the runtime's default."""
    lanes: int = 1
    """How many lanes will run at once: what the native threads are shared among."""
    intra_threads: int | None = None
    """Native threads of one predict call; None lets the adapter decide by `lanes` and cores."""
    inter_threads: int | None = None
    """Native threads across the branches of a graph; None is the library's default."""
    spinning: bool | None = None
    """Whether idle native threads burn a core for lower latency; None lets the adapter decide."""
