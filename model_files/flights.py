"""One transfer of a file at a time in this process: who comes later waits for it and shares how it ends."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from model_files.errors import TransferCancelledError
from model_files.progress import Watch

_LOOK_S = 0.1
"""How soon one who waits notices that he need not any longer."""

T = TypeVar("T")


class Flight(Generic[T]):
    """A transfer under way, followed by all who wait for it."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self.ended = threading.Event()
        self.result: T | None = None
        self.error: Exception | None = None

    @property
    def cancelled(self) -> bool:
        return all(watch.cancelled for watch in tuple(self._watches))

    def report(self, uri: str, done: int, total: int | None) -> None:
        """Tell all."""
        for watch in tuple(self._watches):
            watch.report(uri, done, total)

    def follow(self, watch: Watch) -> None:
        """Add one who waits."""
        self._watches.append(watch)


class Flights(Generic[T]):
    """The transfers under way in this process, by key."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._under_way: dict[str, Flight[T]] = {}

    def run(self, key: str, watch: Watch, work: Callable[[Watch], T]) -> T:
        """Return what the work returns: own, or that of whoever began before.

        Work that has begun goes on on its own thread for as long as anybody waits for it.

        Args:
            key: of what is to be fetched.
            watch: the caller's.
            work: fetches; it is given the watch that it must ask.
        """
        while True:
            with self._guard:
                flight = self._under_way.get(key)
                is_own = flight is None
                if flight is None:
                    flight = self._under_way[key] = Flight()
                flight.follow(watch)
            if is_own:
                return self._lead(key, flight, work)
            _wait(flight, watch)
            if flight.result is not None:
                return flight.result
            assert flight.error is not None
            # He who was followed may have given up before this caller came.
            if not isinstance(flight.error, TransferCancelledError):
                raise flight.error

    def _lead(self, key: str, flight: Flight[T], work: Callable[[Watch], T]) -> T:
        try:
            result = flight.result = work(flight)
        except BaseException as error:
            interrupted = TransferCancelledError("the transfer was interrupted")
            flight.error = error if isinstance(error, Exception) else interrupted
            raise
        finally:
            with self._guard:
                del self._under_way[key]
            flight.ended.set()
        return result


def _wait(flight: Flight[T], watch: Watch) -> None:
    while not flight.ended.wait(_LOOK_S):
        if watch.cancelled:
            raise TransferCancelledError
