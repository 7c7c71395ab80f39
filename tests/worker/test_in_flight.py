"""The books of what is in flight: bookings come back exactly once, whatever a request was."""

import gc
import tracemalloc
from dataclasses import replace

import pytest

from protocol.messages import OPTIONS_FLAG, MessageType
from protocol.packet import PacketHeader, Verdict
from worker.config import Limits, Overload
from worker.in_flight import InFlight

RAW = MessageType.INFER_RAW


def header(payload: int = 10, type_byte: int = RAW) -> PacketHeader:
    return PacketHeader(1, type_byte, payload)


def in_flight(**limits) -> InFlight:
    books = InFlight()
    books.limits = replace(Limits(), **limits)
    return books


def test_what_is_admitted_is_booked_until_it_is_closed():
    books = in_flight(max_in_flight=2)
    requests = []
    for _ in range(2):
        assert books.admit(header()) is Verdict.ADMIT
        requests.append(books.open(1, RAW, 10))
    assert books.data_requests == 2
    assert books.admit(header()) is Verdict.WAIT
    assert books.waiting

    told = []
    books.on_room = lambda: told.append(1)
    books.close(requests[0])
    assert told == [1]
    assert not books.waiting
    assert books.admit(header()) is Verdict.ADMIT


@pytest.mark.parametrize("type_byte", [RAW, RAW | OPTIONS_FLAG, MessageType.CACHE_FRAME, 0x42, 0xC2])
def test_data_and_unknown_types_count(type_byte):
    books = in_flight(max_in_flight=1, overload=Overload.REJECT)
    assert books.admit(header(type_byte=type_byte)) is Verdict.ADMIT
    assert books.admit(header(type_byte=type_byte)) is Verdict.SKIP
    assert not books.waiting


def test_commands_do_not_count_and_are_always_admitted():
    books = in_flight(max_in_flight=1)
    books.admit(header())
    for _ in range(5):
        assert books.admit(header(1 << 20, MessageType.COMMAND)) is Verdict.ADMIT
        books.open(2, MessageType.COMMAND, 1 << 20)
    assert books.data_requests == 1


@pytest.mark.parametrize(("payloads", "verdict"), [([60, 40], Verdict.ADMIT), ([60, 41], Verdict.WAIT)])
def test_bytes_are_bounded(payloads, verdict):
    books = in_flight(max_in_flight_bytes=100)
    assert [books.admit(header(payload)) for payload in payloads][-1] is verdict


def test_one_packet_of_any_size_is_admitted_when_nothing_is_in_flight():
    books = in_flight(max_in_flight_bytes=1)
    assert books.admit(header(1 << 30)) is Verdict.ADMIT
    assert books.admit(header(0)) is Verdict.WAIT


def test_a_packet_that_was_not_admitted_gives_nothing_back():
    books = in_flight(max_in_flight=1)
    books.admit(header())
    served = books.open(1, RAW, 10)
    books.close(books.open(2, RAW, 1 << 20, admitted=False))
    assert books.data_requests == 1
    books.close(served)
    assert books.data_requests == 0


def test_idle_and_empty_are_told_once_each():
    books = in_flight()
    books.admit(header())
    data, command = books.open(1, RAW, 10), books.open(2, MessageType.COMMAND, 10)
    told: list[str] = []
    books.when_idle(lambda: told.append("idle"))
    books.when_empty(lambda: told.append("empty"))
    books.close(data)
    assert told == ["idle"]
    books.close(command)
    assert told == ["idle", "empty"]
    books.when_idle(lambda: told.append("idle now"))
    books.when_empty(lambda: told.append("empty now"))
    assert told == ["idle", "empty", "idle now", "empty now"]


def accept(books: InFlight, request_id: int = 1, type_byte: int = RAW):
    """Admit a packet and open its request."""
    books.admit(header(type_byte=type_byte))
    return books.open(request_id, type_byte, 10)


def test_the_inferences_of_a_source_are_found_in_the_order_of_their_arrival():
    books = in_flight()
    requests = [accept(books, number) for number in range(6)]
    keys: list[tuple[int, str | None]] = [
        (0, "yard"),
        (0, None),
        (0, "yard"),
        (1, "yard"),
        (0, ""),
        (0, "yard"),
    ]
    for request, (slot, source) in zip(requests, keys, strict=True):
        books.bind(request, slot, source)
        assert (request.slot, request.source) == (slot, source)

    assert books.of_source(0, "yard") == [requests[0], requests[2], requests[5]]
    assert books.of_source(0, None) == [requests[1]]
    assert books.of_source(0, "") == [requests[4]]
    assert books.of_source(1, "yard") == [requests[3]]
    assert books.of_source(1, None) == books.of_source(2, "yard") == books.of_source(0, "gate") == []


def test_a_request_is_found_by_its_source_until_it_is_closed():
    books = in_flight()
    requests = [accept(books) for _ in range(3)]
    for request in requests:
        books.bind(request, 0, "yard")
    books.close(requests[1])
    assert books.of_source(0, "yard") == [requests[0], requests[2]]
    for request in books.of_source(0, "yard"):  # what superseding does
        books.close(request)
    assert books.of_source(0, "yard") == []
    assert books.data_requests == 0


def test_what_no_slot_was_asked_for_is_closed_like_the_rest():
    books = in_flight()
    books.close(accept(books, type_byte=MessageType.CACHE_FRAME))
    assert books.data_requests == 0


def test_requests_are_found_by_their_id_until_they_are_answered():
    books = in_flight()
    twice = [accept(books, 7), accept(books, 7)]
    command = books.open(7, MessageType.COMMAND, 10)
    other = accept(books, 8)

    assert set(map(id, books.with_id(7))) == set(map(id, [*twice, command]))
    assert books.with_id(8) == [other]
    assert books.with_id(9) == []
    twice[0].answered = True  # at a deadline, say, and not closed yet
    assert set(map(id, books.with_id(7))) == {id(twice[1]), id(command)}
    books.close(command)
    books.close(twice[1])
    assert books.with_id(7) == []


def test_ever_new_sources_leave_nothing_behind():
    books = in_flight()
    for number in range(100):
        request = accept(books, number)
        books.bind(request, number % 3, f"track {number}")
        books.close(request)
        assert books.of_source(number % 3, f"track {number}") == []
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(20_000):
            request = accept(books, number)
            books.bind(request, number % 3, f"track {number}")
            books.close(request)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 64 * 1024
