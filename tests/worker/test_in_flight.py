"""The books of what is in flight: bookings come back exactly once, whatever a request was."""

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
