"""Truncated, damaged and wrong data: what is in them is given, then the error says where."""

import dataclasses
import io
import os
import time
from collections.abc import Callable
from typing import Any

import av
import numpy as np
import pytest

from streaming.errors import BrokenStreamError, StreamError, UnsupportedStreamError
from tests.streaming.clips import (
    BY_NAME,
    encode,
)
from tests.streaming.decoding import ForwardOnly, decode, noise


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("share", [0.35, 0.6, 0.93])
def test_a_truncated_file_gives_what_it_has_and_says_where_it_ends(name: str, share: float) -> None:
    data = encode(dataclasses.replace(BY_NAME[name], picture=noise))
    cut = int(len(data) * share) | 1
    frames, _, error = decode(data[:cut])
    assert isinstance(error, BrokenStreamError)
    assert f"{cut:,}" in str(error)
    assert [frame.frame_number for frame in frames] == list(range(len(frames)))
    if name != "index_at_end":
        assert len(frames) >= int(30 * share) - 4
        assert f"after frame {frames[-1].frame_number} (" in str(error)


@pytest.mark.parametrize("name", ["faststart", "fragmented", "matroska", "webm"])
def test_a_truncated_forward_stream_is_told_too(name: str) -> None:
    data = encode(dataclasses.replace(BY_NAME[name], picture=noise))
    frames, _, error = decode(data[: len(data) // 2], file=ForwardOnly)
    assert 10 <= len(frames) <= 15
    assert isinstance(error, BrokenStreamError)


@pytest.mark.parametrize("name", ["faststart", "fragmented", "matroska", "transport"])
def test_decoding_goes_on_after_damage_and_tells_of_it_at_the_end(name: str) -> None:
    clip = dataclasses.replace(BY_NAME[name], frames=60, picture=noise)
    data = bytearray(encode(clip))
    middle = len(data) * 4 // 10
    data[middle : middle + 6000] = np.random.default_rng(5).bytes(6000)
    frames, _, error = decode(bytes(data))
    assert isinstance(error, BrokenStreamError)
    assert "damaged" in str(error)
    assert any(frame.metadata.get("damaged") for frame in frames) or len(frames) < 60
    assert len(frames) >= 50
    intact = [frame for frame in frames if frame.timestamp_ms >= frames[0].timestamp_ms + 1700]
    assert intact
    assert not any("damaged" in frame.metadata for frame in intact)


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_ends_with_an_error_of_streams_or_none(seed: int) -> None:
    random = np.random.default_rng(seed)
    for clip in BY_NAME.values():
        data = bytearray(encode(dataclasses.replace(clip, picture=noise, frames=12)))
        for place in random.integers(0, len(data), 12):
            data[place] = random.integers(0, 256)
        began = time.monotonic()
        frames, _, _ = decode(bytes(data), file=(io.BytesIO, ForwardOnly)[seed % 2], every_nth=1 + seed % 3)
        given = [frame.frame_number for frame in frames]
        assert given == sorted(set(given))
        assert time.monotonic() - began < 5


def sound_alone() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "kind", "text"),
    [
        (b"", BrokenStreamError, "empty"),
        (os.urandom(5000), StreamError, "opened"),
        (b"This is a letter to you.\n" * 100, StreamError, "opened"),
        (sound_alone(), UnsupportedStreamError, "only audio"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n", StreamError, "opened"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", UnsupportedStreamError, "opened"),
    ],
    ids=["nothing", "noise", "text", "sound", "playlist", "script"],
)
@pytest.mark.parametrize("file", [io.BytesIO, ForwardOnly])
def test_what_is_no_video_is_refused(
    data: bytes, kind: type[StreamError], text: str, file: Callable[[bytes], Any]
) -> None:
    frames, events, error = decode(data, file=file)
    assert not frames
    assert not events
    assert isinstance(error, kind)
    assert text in str(error)
