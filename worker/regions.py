"""The regions: which shared memory has which id, and in what order attaching takes effect.

Belongs to the event loop. An id is attached from the moment at which its command is taken up; what
comes for it before the file is open waits for that. Each file is opened on a thread of its own, so
that one on a file system that does not answer keeps nothing else.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from frame_cache.shared_memory import SharedRegion
from preprocess.buffers import BufferPool
from protocol.errors import ErrorCode
from worker.errors import Failure, failure_of, region_not_attached

MAX_REGIONS = 1024
"""Each costs a descriptor, and a thread while its file is being opened."""

WhenOpen = Callable[["SharedRegion | None", "Failure | None"], None]
WhenAttached = Callable[["Failure | None", bool], None]
WhenDetached = Callable[["Failure | None"], None]


@dataclass(slots=True, eq=False)
class Attachment:
    """One region from `attach` on: open, being opened, or failed."""

    region_id: int
    waiting: list[WhenOpen] = field(default_factory=list)
    """Called in order when the file is open or cannot be opened."""
    region: SharedRegion | None = None
    failure: Failure | None = None
    when_detached: WhenDetached | None = None
    """Set by a `detach` that came while the file was being opened."""

    def when_open(self, callback: WhenOpen) -> None:
        """Call back with the region, or with why there is none: at once where that is known."""
        if self.region is None and self.failure is None:
            self.waiting.append(callback)
        else:
            callback(self.region, self.failure)


class RegionTable:
    """All regions of the worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop, pool: BufferPool) -> None:
        """Create a table without regions.

        Args:
            loop: the worker's.
            pool: where the memory for copies comes from.
        """
        self._loop = loop
        self._pool = pool
        self._attached: dict[int, Attachment] = {}
        self._alive = 0
        """Regions that are attached, and detached ones that are still in use or being opened."""

    def __len__(self) -> int:
        """How many regions are attached."""
        return len(self._attached)

    def get(self, region_id: int) -> Attachment | None:
        """Return what is attached under an id now."""
        return self._attached.get(region_id)

    def attach(self, region_id: int, path: str, size: int, trusted: bool, done: WhenAttached) -> None:
        """Attach a region; `SharedRegion.open` has the arguments.

        Args:
            region_id: one that nothing is attached under.
            path: of the region's file.
            size: bytes.
            trusted: whether the host vouches that it never shortens the file.
            done: called on the loop before whatever waits for the region: with None and whether
                it is read in place, or with a failure. Then the id is free again.
        """
        refusal = self._refusal(region_id)
        if refusal is not None:
            done(refusal, False)
            return
        attachment = Attachment(region_id, [partial(_tell, done)])
        arguments = (attachment, path, size, trusted)
        name = f"region-{region_id}"
        threading.Thread(target=self._open, args=arguments, name=name, daemon=True).start()
        self._attached[region_id] = attachment
        self._alive += 1

    def detach(self, region_id: int, done: WhenDetached) -> None:
        """Free an id at once; `done` is called on the loop when nobody uses the region any longer."""
        attachment = self._attached.pop(region_id, None)
        if attachment is None:
            done(region_not_attached(region_id))
        elif attachment.region is None:
            attachment.when_detached = done
        else:
            self._retire(attachment.region, done)

    def _refusal(self, region_id: int) -> Failure | None:
        if region_id in self._attached:
            return Failure(
                ErrorCode.BAD_REQUEST,
                f"region {region_id} is attached already; detach it first, or take another id",
            )
        if self._alive >= MAX_REGIONS:
            return Failure(
                ErrorCode.OVERLOADED, f"{MAX_REGIONS} regions are attached or still in use; detach some first"
            )
        return None

    def _open(self, attachment: Attachment, path: str, size: int, trusted: bool) -> None:
        """Open a region's file, on the attachment's own thread."""
        region: SharedRegion | None = None
        failure: Failure | None = None
        try:
            region = SharedRegion.open(path, size, trusted, self._pool)
        except Exception as error:  # noqa: BLE001 - a surprise must not leave the region opening for ever
            failure = failure_of(error)
        self._to_loop(self._opened, attachment, region, failure)

    def _opened(self, attachment: Attachment, region: SharedRegion | None, failure: Failure | None) -> None:
        attachment.region, attachment.failure = region, failure
        if region is None:
            self._alive -= 1
            if self._attached.get(attachment.region_id) is attachment:
                del self._attached[attachment.region_id]
        waiting, attachment.waiting = attachment.waiting, []
        for proceed in waiting:
            proceed(region, failure)
        detached = attachment.when_detached
        if detached is None:
            return
        if region is None:
            detached(None)
        else:
            self._retire(region, detached)

    def _retire(self, region: SharedRegion, done: WhenDetached) -> None:
        region.retire(partial(self._to_loop, self._unused, done))

    def _unused(self, done: WhenDetached) -> None:
        self._alive -= 1
        done(None)

    def _to_loop(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have something called on the loop, from any thread; nowhere, once the worker has ended."""
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(function, *arguments)


def _tell(done: WhenAttached, region: SharedRegion | None, failure: Failure | None) -> None:
    done(failure, region is not None and region.mapped)
