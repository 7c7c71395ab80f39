"""A stand-in for the shell: pours bytes into a decoder as a scatter read would."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from protocol.errors import FramingLost
from protocol.packet import PacketDecoder, Verdict

LOST = "framing lost"


def pour(decoder: PacketDecoder, data: bytes | memoryview) -> int:
    """One read: as much of the data as the decoder's buffers take."""
    taken = 0
    for buffer in decoder.get_buffers():
        part = data[taken : taken + len(buffer)]
        buffer[: len(part)] = part
        taken += len(part)
    decoder.buffer_updated(taken)
    return taken


def drain(decoder: PacketDecoder) -> list[Any]:
    """All messages that have come, and LOST where the framing is."""
    results: list[Any] = []
    try:
        while (message := decoder.next_message()) is not None:
            results.append(message)
    except FramingLost:
        results.append(LOST)
    return results


def run_decoder(decoder: PacketDecoder, chunks: Iterable[bytes]) -> list[Any]:
    """Feed chunk after chunk, taking every message as soon as it is there."""
    results: list[Any] = []
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            taken = pour(decoder, rest)
            assert taken, "the decoder takes no bytes though all its messages were taken"
            rest = rest[taken:]
            results += drain(decoder)
            if results and results[-1] == LOST:
                return results
    return results


@pytest.fixture(scope="session")
def feed() -> Callable[..., list[Any]]:
    """`run_decoder`."""
    return run_decoder


@pytest.fixture(scope="session")
def read_once() -> Callable[[PacketDecoder, bytes], int]:
    """`pour`."""
    return pour


@pytest.fixture(scope="session")
def decode() -> Callable[..., list[Any]]:
    """Bytes to results, with a decoder of their own that admits everything."""

    def decode_chunks(
        *chunks: bytes, strict: bool = False, verdict: Verdict = Verdict.ADMIT, **settings: int
    ):
        decoder = PacketDecoder(lambda header: verdict, **settings)
        decoder.strict = strict
        return run_decoder(decoder, chunks)

    return decode_chunks
