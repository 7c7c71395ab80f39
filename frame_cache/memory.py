"""`FrameCache`: frames, their decoded pixels and their tensors under one byte budget.

All of them stand in one queue by last use, and the head of it goes first; a frame takes along
what was made of it. What was made belongs to the `CachedFrame` object and not to the frame's id,
so that an id that is used again never finds an older picture's tensor.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from frame_cache.base import Decode, PreparedKey
from frame_cache.errors import FrameTooLargeError
from preprocess.frame import Frame, Pixels, Prepared
from preprocess.options import DecodeOptions
from protocol.pixel_format import CHANNELS

Made = TypeVar("Made", Pixels, Prepared)


class CachedFrame:
    """One frame and what was made of it, each thing made once, for any thread.

    It serves whoever holds it even after the cache has let go of it; from then on nothing that
    is made of it is kept.
    """

    def __init__(self, cache: "FrameCache", frame_id: int, frame: Frame, decode: Decode) -> None:
        self.frame = frame
        self.frame_id = frame_id
        self._cache = cache
        self._decode = decode
        self._lock = threading.Lock()
        """Taken before the cache's, never after it."""
        self._making: dict[Hashable, Future[Any]] = {}

    def pixels(self, options: DecodeOptions) -> Pixels:
        """Return the decoded frame; whoever asks while it is decoded waits for that.

        Raises:
            PreprocessError: as the decoder does; then the cache holds this frame no longer.
        """
        if self.frame.format in CHANNELS:
            return self._decoded(options)  # A view of the frame's own memory: nothing to keep.
        return self._made_once(options, lambda: self._decoded(options), _pixels_nbytes)

    def prepared(self, key: PreparedKey) -> Prepared | None:
        """Return the tensor of `key` where it is kept; never waits for one that is being made."""
        found: Prepared | None = self._cache._find(self, key)
        return found

    def prepare(self, key: PreparedKey, make: Callable[[], Prepared]) -> Prepared:
        """Return the tensor of `key`, made by `make` where it is not kept; others wait for that."""
        return self._made_once(key, make, _prepared_nbytes)

    def _decoded(self, options: DecodeOptions) -> Pixels:
        try:
            return self._decode(self.frame, options)
        except BaseException:
            self._cache._discard(self)
            raise

    def _made_once(self, key: Hashable, make: Callable[[], Made], nbytes_of: Callable[[Made], int]) -> Made:
        with self._lock:
            kept: Made | None = self._cache._find(self, key)
            if kept is not None:
                return kept
            future: Future[Made] | None = self._making.get(key)
            mine = future is None
            if future is None:
                future = self._making[key] = Future()
        if mine:
            self._make(key, make, nbytes_of, future)
            return future.result()
        shared = future.result()
        self._cache._note_found(key)
        return shared

    def _make(
        self, key: Hashable, make: Callable[[], Made], nbytes_of: Callable[[Made], int], future: Future[Made]
    ) -> None:
        try:
            made = make()
        except BaseException as exc:  # noqa: BLE001  whatever it is, every waiter gets it
            self._finish(key)
            future.set_exception(exc)
        else:
            self._cache._keep(self, key, made, nbytes_of(made))
            self._finish(key)
            future.set_result(made)

    def _finish(self, key: Hashable) -> None:
        with self._lock:
            del self._making[key]


@dataclass(frozen=True, slots=True, eq=False)
class _Holding:
    """Something that counts in the budget: a frame, or a thing made of one."""

    entry: CachedFrame
    key: Hashable
    """What it is to its frame; None for the frame itself."""
    value: Any
    """A Frame, Pixels or Prepared: the methods of `CachedFrame` know which by the key."""
    nbytes: int


class FrameCache:
    """Frames by id; every method may be called from any thread.

    Methods with an underscore are for `CachedFrame`. Memory that is let go of is freed after the
    lock, which the event loop takes too.
    """

    def __init__(self, budget_bytes: int, decode: Decode) -> None:
        self._budget_bytes = budget_bytes
        self._decode = decode
        self._lock = threading.Lock()
        self._holdings: dict[CachedFrame, dict[Hashable, _Holding]] = {}
        self._by_id: dict[int, CachedFrame] = {}
        self._by_use: OrderedDict[_Holding, None] = OrderedDict()
        """Least recently used first."""
        self._used_bytes = 0
        self._hits = 0
        self._misses = 0
        self._evicted = 0
        self._tensor_hits = 0
        self._tensor_misses = 0

    @property
    def hits(self) -> int:
        """How often `get` found the frame."""
        return self._hits

    @property
    def misses(self) -> int:
        """How often `get` did not."""
        return self._misses

    @property
    def evicted(self) -> int:
        """How many frames had to go because the budget was full."""
        return self._evicted

    @property
    def tensor_hits(self) -> int:
        """How often a tensor was there, or was being made for somebody else."""
        return self._tensor_hits

    @property
    def tensor_misses(self) -> int:
        """How many tensors had to be made."""
        return self._tensor_misses

    @property
    def used_bytes(self) -> int:
        """Bytes of all frames, decoded pixels and tensors that are kept."""
        return self._used_bytes

    def __len__(self) -> int:
        """How many frames are kept."""
        return len(self._by_id)

    def put(self, frame_id: int, frame: Frame) -> CachedFrame:
        """Keep a frame, in place of an older one of this id.

        Raises:
            FrameTooLargeError: it is larger than the whole budget; the id is empty now.
        """
        entry = CachedFrame(self, frame_id, frame, self._decode)
        nbytes = frame.data.nbytes
        with self._lock:
            dropped = self._drop(self._by_id.get(frame_id))
            if nbytes <= self._budget_bytes:
                self._by_id[frame_id] = entry
                self._holdings[entry] = {}
                dropped += self._add(_Holding(entry, None, frame, nbytes))
        dropped.clear()
        if nbytes > self._budget_bytes:
            raise FrameTooLargeError(f"a frame of {nbytes} bytes, the frame cache has {self._budget_bytes}")
        return entry

    def get(self, frame_id: int) -> CachedFrame | None:
        """Return the frame of an id, which counts as its use."""
        with self._lock:
            entry = self._by_id.get(frame_id)
            if entry is None:
                self._misses += 1
            else:
                self._hits += 1
                self._by_use.move_to_end(self._holdings[entry][None])
            return entry

    def remove(self, frame_id: int) -> None:
        """Let go of the frame of an id and all that was made of it; of an empty id too."""
        with self._lock:
            dropped = self._drop(self._by_id.get(frame_id))
        dropped.clear()

    def _find(self, entry: CachedFrame, key: Hashable) -> Any:
        """Return what is kept under a key of a frame, which counts as its use, or None."""
        with self._lock:
            holding = self._holdings.get(entry, {}).get(key)
            if holding is None:
                return None
            self._by_use.move_to_end(holding)
            self._tensor_hits += isinstance(key, PreparedKey)
            return holding.value

    def _note_found(self, key: Hashable) -> None:
        """Count what was found while it was being made."""
        with self._lock:
            self._tensor_hits += isinstance(key, PreparedKey)

    def _keep(self, entry: CachedFrame, key: Hashable, value: Any, nbytes: int) -> None:
        """Keep what was made of a frame, unless the frame is gone or the two do not fit together."""
        with self._lock:
            self._tensor_misses += isinstance(key, PreparedKey)
            holdings = self._holdings.get(entry)
            if holdings is None or holdings[None].nbytes + nbytes > self._budget_bytes:
                return
            # The frame comes right before what is made of it, so it is not what makes room.
            self._by_use.move_to_end(holdings[None])
            dropped = self._add(_Holding(entry, key, value, nbytes))
        dropped.clear()

    def _discard(self, entry: CachedFrame) -> None:
        """Let go of this very frame, not of a newer one that has its id."""
        with self._lock:
            dropped = self._drop(entry)
        dropped.clear()

    def _add(self, holding: _Holding) -> list[_Holding]:
        """Count a holding as just used; return what made room for it. The lock is held."""
        self._holdings[holding.entry][holding.key] = holding
        self._by_use[holding] = None
        self._used_bytes += holding.nbytes
        dropped: list[_Holding] = []
        while self._used_bytes > self._budget_bytes:
            oldest = next(iter(self._by_use))
            self._evicted += oldest.key is None
            dropped += self._drop(oldest.entry) if oldest.key is None else self._drop_part(oldest)
        return dropped

    def _drop(self, entry: CachedFrame | None) -> list[_Holding]:
        """Let go of a frame and all that was made of it, and return that. The lock is held."""
        if entry is None or entry not in self._holdings:
            return []
        del self._by_id[entry.frame_id]
        dropped = list(self._holdings.pop(entry).values())
        for holding in dropped:
            del self._by_use[holding]
            self._used_bytes -= holding.nbytes
        return dropped

    def _drop_part(self, holding: _Holding) -> list[_Holding]:
        del self._holdings[holding.entry][holding.key]
        del self._by_use[holding]
        self._used_bytes -= holding.nbytes
        return [holding]


def _pixels_nbytes(pixels: Pixels) -> int:
    return pixels.array.nbytes


def _prepared_nbytes(prepared: Prepared) -> int:
    return prepared.tensor.nbytes
