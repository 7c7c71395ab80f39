"""Predict shares: never more at once than exist; who waits longest is next, a hanging one is taken back."""

import threading
import time

import pytest

from worker.shares import PredictShares


def start(target, *arguments) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def wait_until(is_so) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_at_once_than_there_are(count):
    shares, lock, running, most = PredictShares(count), threading.Lock(), [0], [0]

    def work() -> None:
        for _ in range(200):
            share = shares.acquire()
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            with lock:
                running[0] -= 1
            shares.release(share)

    threads = [start(work) for _ in range(6)]
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert most[0] <= count


def test_whoever_waits_longest_is_next():
    shares, order = PredictShares(1), []
    held = shares.acquire()

    def wait(number: int) -> None:
        share = shares.acquire()
        order.append(number)
        shares.release(share)

    threads = []
    for number in range(5):
        threads.append(start(wait, number))
        wait_until(lambda: len(shares._waiting) == len(threads))
    shares.release(held)
    for thread in threads:
        thread.join(60)
    assert order == list(range(5))


def test_one_who_releases_cannot_overtake_those_who_wait():
    shares, order = PredictShares(1), []
    held = shares.acquire()

    def wait() -> None:
        share = shares.acquire()
        order.append("waiting")
        shares.release(share)

    thread = start(wait)
    wait_until(lambda: len(shares._waiting) == 1)
    shares.release(held)
    share = shares.acquire()
    order.append("greedy")
    shares.release(share)
    thread.join(60)
    assert order == ["waiting", "greedy"]


def test_a_share_that_was_taken_back_goes_to_the_next_and_is_released_only_once():
    shares = PredictShares(1)
    hanging = shares.acquire()
    shares.take_back(older_than_s=60)
    got = []
    thread = start(lambda: got.append(shares.acquire()))
    wait_until(lambda: len(shares._waiting) == 1)
    assert got == []
    shares.take_back(older_than_s=0)
    thread.join(60)
    assert len(got) == 1

    shares.release(hanging)  # the call came back after all: its share is another's now
    second = []
    thread = start(lambda: second.append(shares.acquire()))
    wait_until(lambda: len(shares._waiting) == 1)
    assert second == []
    shares.release(got[0])
    thread.join(60)
    assert len(second) == 1


def test_taking_back_what_nobody_waits_for_frees_it():
    shares = PredictShares(1)
    shares.acquire()
    shares.take_back(older_than_s=0)
    shares.acquire()
