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
    hint: str | None = None
    """"latency" or "throughput": what to tune for, where the library asks; None lets the adapter decide."""
    streams: int | None = None
    """Predict calls that the device runs side by side; None lets the adapter decide by `lanes`."""
    cache_dir: str | None = None
    """Folder that keeps what was compiled for the next load; None keeps nothing."""
    half: bool | None = None
    """Whether to compute in 16-bit floats where the model is in 32; None lets the adapter decide."""
