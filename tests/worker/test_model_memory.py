"""What is measured of a load, while other loads and the closing of models go on."""

import sys
import threading

import pytest

from worker.model_memory import MemoryMeter, mebibytes, resident_bytes, trim


class Resident:
    """A double of the system's figure."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __call__(self) -> int:
        return self.count


def test_a_load_is_what_the_process_grew():
    resident = Resident(100)
    meter = MemoryMeter(resident)
    load = meter.begin(alone=True)
    resident.count = 130
    assert meter.grown(load) == 30
    meter.end(load)


def test_what_a_model_gives_back_meanwhile_makes_no_load_smaller():
    resident = Resident(100)
    meter = MemoryMeter(resident)
    load = meter.begin(alone=False)

    def close() -> None:
        resident.count -= 40

    resident.count = 150
    meter.give_back(close)
    assert meter.grown(load) == 50
    meter.end(load)
    later = meter.begin(alone=True)
    assert meter.grown(later) == 0


def test_a_process_that_shrinks_for_other_reasons_is_no_negative_load():
    resident = Resident(100)
    meter = MemoryMeter(resident)
    load = meter.begin(alone=False)
    resident.count = 90
    assert meter.grown(load) == 0


def starts(meter: MemoryMeter, alone: bool) -> threading.Event:
    """Begin to measure on another thread; the event is set when it has begun."""
    begun = threading.Event()

    def begin() -> None:
        meter.begin(alone)
        begun.set()

    threading.Thread(target=begin, daemon=True).start()
    return begun


def test_a_load_with_a_bound_is_measured_alone_and_others_side_by_side():
    meter = MemoryMeter(Resident(0))
    first, second = meter.begin(alone=False), meter.begin(alone=False)
    bounded = starts(meter, alone=True)
    meter.end(first)
    assert not bounded.wait(0.05)
    meter.end(second)
    assert bounded.wait(5)
    assert not starts(meter, alone=False).wait(0.05)


def test_nothing_is_closed_beside_a_load_that_is_measured_alone():
    meter = MemoryMeter(Resident(0))
    load = meter.begin(alone=True)
    closed, go_on = threading.Event(), threading.Event()

    def close() -> None:
        closed.set()
        go_on.wait(5)

    threading.Thread(target=meter.give_back, args=(close,), daemon=True).start()
    assert not closed.wait(0.05)
    meter.end(load)
    assert closed.wait(5)
    begun = starts(meter, alone=True)
    assert not begun.wait(0.05)
    go_on.set()
    assert begun.wait(5)


def test_a_model_that_cannot_be_closed_stops_nothing():
    meter = MemoryMeter(Resident(0))

    def close() -> None:
        raise RuntimeError("a library's own fault")

    with pytest.raises(RuntimeError):
        meter.give_back(close)
    assert starts(meter, alone=True).wait(5)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_what_the_c_library_keeps_goes_back():
    before = resident_bytes()
    # Too small for mappings of their own; the last one keeps the heap from shrinking by itself.
    blocks = [b"x" * 100_000 for _ in range(600)]
    del blocks[:-1]
    trim()
    assert resident_bytes() - before < 10 << 20


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_the_system_tells():
    before = resident_bytes()
    held = b"x" * (64 << 20)
    assert resident_bytes() - before > 60 << 20
    del held
    trim()
    assert resident_bytes() - before < 10 << 20


def test_amounts_for_a_person():
    assert mebibytes(3 << 19) == "1.5 MiB"
    assert mebibytes(300 << 20) == "300 MiB"
