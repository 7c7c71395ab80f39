"""A request from its arrival to its one answer, and the items it is made of.

Several of these are made for every packet, so they are msgspec structs, as the messages are: one of
eight fields in 0.15 instead of 0.6 µs.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

import msgspec
from numpy.typing import NDArray

from frame_cache.base import PreparedKey
from postprocessors.base import ResultOptions
from postprocessors.results import Result
from preprocess.frame import Box, Prepared
from preprocess.options import DecodeOptions
from protocol.errors import ErrorCode
from worker.errors import Failure
from worker.sources import Source


class WithdrawsItems(Protocol):
    """The queue that an item waits in, as far as its request knows it."""

    def withdraw(self, item: "Item") -> bool:
        """Take an item out that has not reached predict; False where it is too late."""
        ...


class Held(Protocol):
    """What a request keeps from others until it is answered."""

    def let_go(self) -> None: ...


class Request(msgspec.Struct, eq=False):
    """One accepted packet. Belongs to the event loop alone."""

    id: int
    type: int
    """A `MessageType`, or the unknown type as it came."""
    booked_bytes: int | None
    """Payload bytes that count against the limits; None for a command, which does not count."""
    answered: bool = False
    slot: int | None = None
    """The index that an inference names."""
    source: str | None = None
    """Which camera it says that it is from."""
    work: "tuple[WithdrawsItems, Sequence[Item]] | None" = None
    """What it became, once a model has it."""
    pictures: int = 1
    """How many results its answer has."""
    held: Held | None = None
    """Let go of when it is answered."""
    timer: asyncio.TimerHandle | None = None
    """Fires at its deadline."""
    sink: "Callable[[bytes, ErrorCode | None], None] | None" = None
    """Where its answer goes in place of the pipe: a frame's way through one model is a part of a stream."""


class ItemQueue(WithdrawsItems, Protocol):
    """Where a model's items wait. Thread-safe: the loop submits, prepare threads settle, lanes take."""

    def submit(self, group: "Group") -> None:
        """Queue a group; an open one may grow through `extend` until `close`."""
        ...

    def extend(self, group: "Group", item: "Item") -> None:
        """Add an item to an open group."""
        ...

    def close(self, group: "Group") -> None:
        """Let no more items join a group."""
        ...

    def settle(self, item: "Item") -> None:
        """Say that an item's prepare has ended: `item.prepared` is set, or it failed and is answered."""
        ...

    def wait_ready(self) -> bool:
        """Wait, as a lane, until there is something to take; False when nothing will ever be."""
        ...

    def take(self) -> "list[Item]":
        """Take what one predict call gets, prepared; perhaps nothing."""
        ...

    def retire(self) -> None:
        """Submit no more: lanes end when everything is done."""
        ...

    @property
    def starved(self) -> bool:
        """Whether there is more to take than lanes wait for it."""
        ...

    @property
    def has_ready(self) -> bool:
        """Whether a lane would find something at this moment."""
        ...

    @property
    def depth(self) -> tuple[int, int, int]:
        """How many items wait unprepared, are being prepared, and are prepared, at this moment."""
        ...

    @property
    def waiting(self) -> int:
        """How many items wait unprepared."""
        ...


class Stage(IntEnum):
    """How far an item has come; only its queue's lock may move it up to PREDICT."""

    WAITING = 0
    PREPARING = 1
    PREPARED = 2
    PREDICT = 3
    WITHDRAWN = 4
    """Answered already (deadline, shutdown): whoever meets it drops it."""


class Reply(Protocol):
    """Where an item's outcome goes; called once an item, from any thread."""

    def succeed(self, item: "Item", result: Result) -> None: ...

    def fail(self, item: "Item", failure: Failure) -> None: ...


@dataclass(frozen=True, slots=True)
class ItemOptions:
    """One request's options, sorted by the room that reads them."""

    result: ResultOptions
    decode: DecodeOptions
    roi: Box | None = None


class Timings(msgspec.Struct, eq=False, gc=False):
    """Moments (seconds of the performance counter) and spans (ms) of an item's way."""

    arrived: float
    prepare_began: float = 0.0
    prepared: float = 0.0
    predict_began: float = 0.0
    decode_ms: float = 0.0
    prepare_ms: float = 0.0
    predict_ms: float = 0.0
    postprocess_ms: float = 0.0


class Item(msgspec.Struct, eq=False):
    """One picture on its way through one model."""

    source: Source
    key: PreparedKey
    """Of its tensor in the frame cache."""
    options: ItemOptions
    reply: Reply
    timings: Timings
    index: int = 0
    """Place in its batch; 0 for a single request."""
    stage: Stage = Stage.WAITING
    prepared: Prepared | None = None
    batch_size: int = 1
    """How many items its predict call had."""
    group: "Group | None" = None
    """Which predict call it belongs to, once it is queued."""
    deadline: float = math.inf
    """When it is too late to begin predict (seconds of the performance counter)."""

    @property
    def tensor(self) -> NDArray[Any]:
        """The prepared tensor; only asked for once it is there."""
        assert self.prepared is not None
        return self.prepared.tensor


class Priority(IntEnum):
    """What goes first, the smaller the sooner."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


class Group(msgspec.Struct, eq=False):
    """Items that go through one predict call."""

    items: list[Item]
    priority: int = Priority.NORMAL
    source: str | None = None
    """Whose turn it takes: which camera the first item is from."""
    open: bool = False
    """More items may still join."""
    unprepared: int = 0
    begun: bool = False
    """Its turn has come: its items are prepared as they come."""
