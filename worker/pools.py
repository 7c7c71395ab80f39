"""Threads that stages hand work to: no return to the event loop in between."""

import logging
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

log = logging.getLogger(__name__)

Task = tuple[Callable[[Any], None], Any]


class PreparePool:
    """Threads for decode, prepare and postprocess; what ends a request goes before what begins one.

    Daemon threads of our own and not `concurrent.futures`: its workers are joined at exit, so
    one hanging call would keep the process, and its hand-over costs 2.5 times as much.
    """

    def __init__(self, threads: int) -> None:
        self.size = threads
        self._tickets: SimpleQueue[None] = SimpleQueue()
        self._urgent: deque[Task] = deque()
        self._normal: deque[Task] = deque()
        for number in range(threads):
            threading.Thread(target=self._work, name=f"prepare-{number}", daemon=True).start()

    def begin(self, function: Callable[[Any], None], argument: Any) -> None:
        """Queue work that begins a request."""
        self._normal.append((function, argument))
        self._tickets.put(None)

    def finish(self, function: Callable[[Any], None], argument: Any) -> None:
        """Queue work that ends a request: it frees memory, so it goes first."""
        self._urgent.append((function, argument))
        self._tickets.put(None)

    def _work(self) -> None:
        while True:
            self._tickets.get()
            try:
                function, argument = self._urgent.popleft()
            except IndexError:
                function, argument = self._normal.popleft()
            try:
                function(argument)
            except Exception:
                # Tasks answer for their own failures; this is the last line that keeps the thread.
                log.exception("a task of the prepare pool failed")
            del function, argument  # hold no picture while waiting for the next
