"""What has been accepted and not yet answered, and the limits on it. Belongs to the event loop."""

from collections.abc import Callable

from protocol.messages import OPTIONS_FLAG, STREAM_TYPES, MessageType
from protocol.packet import PacketHeader, Verdict
from worker.config import Limits, Overload
from worker.requests import Request

_UNCOUNTED = STREAM_TYPES | {MessageType.COMMAND}
"""Commands have a limit of their own, and what belongs to a stream its credit: held back with the others,
a stream that waits for its models would keep everybody waiting."""


class InFlight:
    """Books requests from the arrival of their header to their answer."""

    def __init__(self) -> None:
        self.limits = Limits()
        self.requests: set[Request] = set()
        """Every accepted request that is not answered, commands included."""
        self.waiting = False
        """A packet is held back until something is answered."""
        self._by_source: dict[tuple[int, str | None], dict[Request, None]] = {}
        self._data_requests = 0
        self._commands = 0
        self._bytes = 0
        self.on_room: Callable[[], None] = _nothing
        """Called when a packet that was held back may be asked about again."""
        self._when_idle: list[Callable[[], None]] = []
        self._when_empty: list[Callable[[], None]] = []

    @property
    def data_requests(self) -> int:
        """How many data requests are booked: arriving, or not yet answered."""
        return self._data_requests

    @property
    def commands(self) -> int:
        """How many commands wait for their answer: loads, a drain, a status behind them."""
        return self._commands

    @property
    def payload_bytes(self) -> int:
        """How many payload bytes the booked data requests have."""
        return self._bytes

    def admit(self, header: PacketHeader) -> Verdict:
        """Decide about a packet by its header; an admitted data request is booked."""
        if not _counts(header.type):
            return Verdict.ADMIT
        if self._is_over(header.payload_length):
            if self.limits.overload is Overload.REJECT:
                return Verdict.SKIP
            self.waiting = True
            return Verdict.WAIT
        self._data_requests += 1
        self._bytes += header.payload_length
        return Verdict.ADMIT

    def open(self, request_id: int, request_type: int, payload_bytes: int, admitted: bool = True) -> Request:
        """Return the request of a packet, to be answered once."""
        request = Request(
            request_id, request_type, payload_bytes if admitted and _counts(request_type) else None
        )
        self.requests.add(request)
        self._commands += request.booked_bytes is None
        return request

    def bind(self, request: Request, slot: int, source: str | None) -> None:
        """Book an inference on its slot and its source."""
        request.slot, request.source = slot, source
        self._by_source.setdefault((slot, source), {})[request] = None

    def of_source(self, slot: int, source: str | None) -> list[Request]:
        """Return the inferences of one source for one slot that are not answered, oldest first."""
        return list(self._by_source.get((slot, source), ()))

    def with_id(self, request_id: int) -> list[Request]:
        """Return the requests of an id that are not answered."""
        return [request for request in self.requests if request.id == request_id and not request.answered]

    def close(self, request: Request) -> None:
        """Book a request off: it is answered."""
        request.work = None  # no cycle is left that would keep pictures until a collection
        self.requests.discard(request)
        if request.slot is not None:
            self._unbind(request, (request.slot, request.source))
        if request.timer is not None:
            request.timer.cancel()
        if request.held is not None:
            request.held.let_go()
        if request.booked_bytes is None:
            self._commands -= 1
        else:
            self._data_requests -= 1
            self._bytes -= request.booked_bytes
        if self._data_requests == 0 and self._when_idle:
            _call_all(self._when_idle)
        if not self.requests and self._when_empty:
            _call_all(self._when_empty)
        if self.waiting:
            self.waiting = False
            self.on_room()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back when no data request is left: at once, if there is none."""
        if self._data_requests == 0:
            callback()
        else:
            self._when_idle.append(callback)

    def when_empty(self, callback: Callable[[], None]) -> None:
        """Call back when no request at all is left: at once, if there is none."""
        if not self.requests:
            callback()
        else:
            self._when_empty.append(callback)

    def _unbind(self, request: Request, key: tuple[int, str | None]) -> None:
        bound = self._by_source[key]
        del bound[request]
        if not bound:
            del self._by_source[key]

    def _is_over(self, payload_bytes: int) -> bool:
        if self._data_requests == 0:
            return False  # one packet is always admitted when nothing is in flight
        return (
            self._data_requests >= self.limits.max_in_flight
            or self._bytes + payload_bytes > self.limits.max_in_flight_bytes
        )


def _counts(type_byte: int) -> bool:
    return type_byte & ~OPTIONS_FLAG not in _UNCOUNTED


def _call_all(callbacks: list[Callable[[], None]]) -> None:
    due = callbacks.copy()
    callbacks.clear()
    for callback in due:
        callback()


def _nothing() -> None:
    """Stand in for a callback that is not set."""
