"""A host for scenarios about single requests: it knows of every id what became of it."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

from bench.collector import Outcome, read_outcome
from bench.link import MAX_PARTS, OPTIONS_FLAG, Link, command_packet, request_head
from bench.side_maker import WORKER, LackingError
from bench.sides import SideFailedError

PATIENCE_S = 60.0
"""Answers that take longer count as lost."""

SETTLE_S = 0.2
"""After the last answer: an answer too many would have come by then."""


@dataclass(frozen=True, slots=True)
class Request:
    """One data request, ready to be sent under any id."""

    type: int
    payload: bytes
    prefix: bytes = b""
    """Its options; see `bench.link.options_prefix`."""

    def packet(self, request_id: int) -> list[bytes]:
        """Return it with an id, in parts: payloads are not copied."""
        kind = self.type | OPTIONS_FLAG if self.prefix else self.type
        head = request_head(request_id, kind, len(self.prefix) + len(self.payload))
        return [head + self.prefix, self.payload]


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a request."""

    at: float
    """`time.perf_counter`."""
    outcome: Outcome


Then = Callable[[int], None]
"""Called in the receiving thread with the id of what was answered."""


class Host:
    """A worker, and a thread that takes in every answer."""

    def __init__(
        self,
        config: Mapping[str, Any],
        needs: Iterable[str] = (),
        link: str = "pipe",
        command: Sequence[str] = WORKER,
    ) -> None:
        """Start the worker and shake hands.

        Raises:
            LackingError: it has not all features of protocol 3 that are needed.
        """
        self._link = Link(command, link)
        self._shake_hands(config, needs)
        self.pid = self._link.process.pid
        self.answers: dict[int, Answered] = {}
        self.codes: Counter[str] = Counter()
        """Of errors."""
        self.repeated = 0
        """Answers beyond the first to a request."""
        self._ids = itertools.count(1)
        self._open: dict[int, Then | None] = {}
        self._sending = threading.Lock()
        self._changed = threading.Condition()
        self._ended = False
        self._receiver = threading.Thread(target=self._receive, name="receiver", daemon=True)
        self._receiver.start()

    def post(self, requests: Sequence[Request], then: Then | None = None) -> list[int]:
        """Send requests without waiting; returns their ids."""
        return self._send([(request.packet, then) for request in requests])

    def command(self, *commands: Mapping[str, Any]) -> list[int]:
        """Send commands without waiting; returns their ids."""
        return self._send([(partial(_command, each), None) for each in commands])

    def cancel(self, ids: Iterable[int]) -> list[int]:
        """Cancel requests; returns the ids of the commands."""
        return self.command(*({"cmd": "cancel", "requestId": number} for number in ids))

    def wait(self, most_open: int = 0) -> bool:
        """Wait until no more requests than that are open; False where that takes too long."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._ended or len(self._open) <= most_open, PATIENCE_S
            ) and (len(self._open) <= most_open)

    def wait_for(self, ids: Iterable[int]) -> bool:
        """Wait until these are answered; False where that takes too long."""
        wanted = set(ids)
        with self._changed:
            return self._changed.wait_for(
                lambda: self._ended or not any(number in self._open for number in wanted), PATIENCE_S
            )

    def lost_or_twice(self, expected: Iterable[str] = ()) -> int:
        """Wait for everything; return the requests without an answer and the answers too many.

        Raises:
            SideFailedError: an answer was an error of another code than those expected.
        """
        self.wait()
        self.command({"cmd": "ping"})
        self.wait()
        time.sleep(SETTLE_S)
        faults = {code: count for code, count in self.codes.items() if code not in set(expected)}
        if faults:
            raise SideFailedError(f"the worker answered {faults}")
        return len(self._open) + self.repeated

    def close(self) -> None:
        """End the worker."""
        self._link.close()
        self._receiver.join(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shake_hands(self, config: Mapping[str, Any], needs: Iterable[str]) -> None:
        ready = self._link.shake_hands(config)
        lacking = set(needs) - set(ready.get("features", ()))
        if lacking:
            self._link.close()
            raise LackingError(f"the worker has no {', '.join(sorted(lacking))}")

    def _send(self, packets: Sequence[tuple[Callable[[int], list[bytes]], Then | None]]) -> list[int]:
        with self._sending:
            ids = list(itertools.islice(self._ids, len(packets)))
            with self._changed:
                self._open.update(zip(ids, (then for _, then in packets), strict=True))
            parts = [part for number, (make, _) in zip(ids, packets, strict=True) for part in make(number)]
            for begin in range(0, len(parts), MAX_PARTS):
                self._link.send(parts[begin : begin + MAX_PARTS])
        return ids

    def _receive(self) -> None:
        try:
            while True:
                self._take(self._link.answers())
        except OSError:
            pass  # closed
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _take(self, answers: Sequence[tuple[int, bytes]]) -> None:
        now, follow = time.perf_counter(), []
        with self._changed:
            for number, body in answers:
                if number not in self._open:
                    self.repeated += 1
                    continue
                then, outcome = self._open.pop(number), read_outcome(body)
                self.answers[number] = Answered(now, outcome)
                if outcome.code:
                    self.codes[outcome.code] += 1
                if then:
                    follow.append((then, number))
            self._changed.notify_all()
        for then, number in follow:
            then(number)


def _command(command: Mapping[str, Any], request_id: int) -> list[bytes]:
    return [command_packet(request_id, command)]
