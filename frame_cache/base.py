"""What a cache of frames is asked for by, and what it asks of the rooms below it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from preprocess.frame import Box, Frame, Pixels
from preprocess.options import DecodeOptions, PrepareOptions

Decode = Callable[[Frame, DecodeOptions], Pixels]
"""Makes pixels of a frame; called in the thread that first asks for them."""


@dataclass(frozen=True)
class PreparedKey:
    """Everything that a tensor of one frame depends on. Hashed once: it is looked up on the event loop."""

    generation: int
    """Which compiled model it is for: a new number for each load and replace of any slot."""
    options: PrepareOptions
    decode: DecodeOptions
    roi: Box | None = None

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.generation, self.options, self.decode, self.roi))
