"""Predict shares: never more at once than exist; fair by work; a hanging one is taken back."""

import threading
import time

import pytest

from worker.shares import PredictShares, WorkAccount

MODEL = WorkAccount()


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
            share = shares.acquire(MODEL)
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


def test_of_one_model_whoever_waits_longest_is_next():
    shares, order = PredictShares(1), []
    held = shares.acquire(MODEL)

    def wait(number: int) -> None:
        share = shares.acquire(MODEL)
        order.append(number)
        shares.release(share)

    threads = []
    for number in range(5):
        threads.append(start(wait, number))
        wait_until(lambda: shares.waiting == len(threads))
    shares.release(held)
    for thread in threads:
        thread.join(60)
    assert order == list(range(5))


def test_one_who_releases_cannot_overtake_those_who_wait():
    shares, order = PredictShares(1), []
    held = shares.acquire(MODEL)

    def wait() -> None:
        share = shares.acquire(MODEL)
        order.append("waiting")
        shares.release(share)

    thread = start(wait)
    wait_until(lambda: shares.waiting == 1)
    shares.release(held)
    share = shares.acquire(MODEL)
    order.append("greedy")
    shares.release(share)
    thread.join(60)
    assert order == ["waiting", "greedy"]


def test_a_share_that_was_taken_back_goes_to_the_next_and_is_released_only_once():
    shares = PredictShares(1)
    hanging = shares.acquire(MODEL)
    shares.take_back(older_than_s=60)
    got = []
    thread = start(lambda: got.append(shares.acquire(MODEL)))
    wait_until(lambda: shares.waiting == 1)
    assert got == []
    shares.take_back(older_than_s=0)
    thread.join(60)
    assert len(got) == 1

    shares.release(hanging)  # the call came back after all: its share is another's now
    second = []
    thread = start(lambda: second.append(shares.acquire(MODEL)))
    wait_until(lambda: shares.waiting == 1)
    assert second == []
    shares.release(got[0])
    thread.join(60)
    assert len(second) == 1


def test_taking_back_what_nobody_waits_for_frees_it():
    shares = PredictShares(1)
    shares.acquire(MODEL)
    shares.take_back(older_than_s=0)
    shares.acquire(MODEL)


def test_two_models_get_the_same_time_and_not_the_same_number_of_calls():
    """One call of the slow model lasts as long as ten of the quick one."""
    shares, over = PredictShares(1), threading.Event()
    served = {"quick": 0.0, "slow": 0.0}

    def work(name: str, seconds: float) -> None:
        account = WorkAccount()
        while not over.is_set():
            share = shares.acquire(account)
            began = time.perf_counter()
            time.sleep(seconds)
            served[name] += time.perf_counter() - began
            shares.release(share)

    # Two lanes each, so that either model has one waiting whenever a call ends.
    threads = [start(work, *model) for model in [("quick", 0.003), ("slow", 0.03)] * 2]
    time.sleep(1.5)
    over.set()
    for thread in threads:
        thread.join(60)
    assert 0.5 < served["quick"] / served["slow"] < 2.0


def test_a_model_that_was_idle_saves_up_nothing():
    shares = PredictShares(1)
    busy, idle, third = WorkAccount(), WorkAccount(), WorkAccount()
    third.tag, busy.tag = 100.0, 100.001
    held = shares.acquire(third)
    order: list[str] = []

    def wait(name: str, account: WorkAccount) -> None:
        share = shares.acquire(account)
        order.append(name)
        time.sleep(0.01)
        shares.release(share)

    threads = [start(wait, "idle", idle)]
    wait_until(lambda: shares.waiting == 1)
    threads += [start(wait, "idle", idle)]
    wait_until(lambda: shares.waiting == 2)
    threads += [start(wait, "busy", busy)]
    wait_until(lambda: shares.waiting == 3)
    shares.release(held)
    for thread in threads:
        thread.join(60)
    assert order[0] == "idle"
    assert order[1] == "busy", "100 s of having been idle would be paid back"
