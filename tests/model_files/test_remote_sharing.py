"""One transfer for all who wait for it, for as long as anybody waits."""

import threading
import time

import pytest
from remote_files import CONTENT, SIZE, URI, Files, Followed

from model_files.base import ModelRef
from model_files.errors import (
    FileTooLargeError,
    TransferCancelledError,
)


def test_threads_share_one_transfer(files: Files) -> None:
    source, provider = files()
    source.before_chunk = lambda path, sent: time.sleep(0.01)
    found: list[bytes] = []
    watches = [Followed() for _ in range(8)]
    threads = [
        threading.Thread(
            target=lambda w=w: found.append(provider.local_files(ModelRef(URI), w).path.read_bytes())
        )
        for w in watches
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 8
    assert len(source.fetched) == 1
    assert sum(bool(watch.reports) for watch in watches) >= 7  # all who came before its end are told


def test_a_transfer_ends_when_nobody_waits_and_goes_on_later(files: Files) -> None:
    source, provider = files()
    with pytest.raises(TransferCancelledError):
        provider.local_files(ModelRef(URI), Followed(cancel_at=SIZE // 2))
    assert provider.local_files(ModelRef(URI)).path.read_bytes() == CONTENT
    assert [offset for _, offset in source.fetched] == [0, SIZE // 2]


def test_a_transfer_goes_on_while_one_of_two_waits(files: Files) -> None:
    source, provider = files()
    at_half, second_came = threading.Event(), threading.Event()

    def before_chunk(path: str, sent: int) -> None:
        if sent == SIZE // 2:
            at_half.set()
            assert second_came.wait(10)

    source.before_chunk = before_chunk
    leaver = Followed(cancel_at=SIZE // 2 + 1)
    first = threading.Thread(target=lambda: provider.local_files(ModelRef(URI), leaver))
    first.start()
    assert at_half.wait(10)
    stayer, found = Followed(), []
    second = threading.Thread(target=lambda: found.append(provider.local_files(ModelRef(URI), stayer).path))
    second.start()
    # Its watch is asked as soon as it follows.
    flights = provider._flights._under_way
    while not any(len(flight._watches) == 2 for flight in list(flights.values())):
        time.sleep(0.005)
    second_came.set()
    second.join()
    first.join()
    assert found[0].read_bytes() == CONTENT
    assert len(source.fetched) == 1
    assert stayer.reports[-1][1] == SIZE


def test_who_waits_for_a_blocked_transfer_can_leave(files: Files) -> None:
    source, provider = files()
    blocked, go_on = threading.Event(), threading.Event()

    def before_chunk(path: str, sent: int) -> None:
        blocked.set()
        go_on.wait(20)

    source.before_chunk = before_chunk
    first = threading.Thread(target=lambda: provider.local_files(ModelRef(URI)))
    first.start()
    assert blocked.wait(10)

    class Gone:
        cancelled = True

        def report(self, *_: object) -> None:
            """Nothing."""

    with pytest.raises(TransferCancelledError):
        provider.local_files(ModelRef(URI), Gone())
    go_on.set()
    first.join()


def test_a_failure_is_shared_too(files: Files) -> None:
    _, provider = files(max_file_bytes=10)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            provider.local_files(ModelRef(URI))
        except FileTooLargeError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
