"""Frames that are left out: nobody else changes its number, and they cost as little as may be."""

import dataclasses
import io
from typing import Any

import av
import pytest

from streaming.container import open_container, video_stream
from streaming.decoder import Decoder
from streaming.selection import Selection
from streaming.settings import Access, DecodeSettings
from streaming.video import decode_video
from tests.streaming.clips import (
    BY_NAME,
    INDEX_AT_END,
    MATROSKA,
    TRANSPORT,
    WEBM,
    encode,
)
from tests.streaming.decoding import REORDERED, ForwardOnly, decode, never, noise, numbers


@pytest.mark.parametrize(
    ("name", "b_frames"),
    [*((name, 0) for name in BY_NAME), *((name, 2) for name in BY_NAME if name != "webm")],
)
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_nth": 3}, range(0, 30, 3)),
        ({"every_nth": 7}, range(0, 30, 7)),
        ({"keyframes_only": True}, range(0, 30, 10)),
        ({"keyframes_only": True, "every_nth": 2}, range(0, 30, 20)),
        ({"max_fps": 10}, range(0, 30, 3)),
        ({"first": 13}, range(13, 30)),
        ({"first": 13, "end": 22}, range(13, 22)),
        ({"first": 10, "end": 11}, range(10, 11)),
        ({"first": 30}, range(0)),
        ({"end": 5}, range(5)),
        ({"first": 4, "every_nth": 5}, range(4, 30, 5)),
    ],
)
def test_frames_keep_their_numbers_and_times_whatever_is_left_out(
    name: str, b_frames: int, settings: dict[str, Any], expected: range
) -> None:
    clip = BY_NAME[name]
    data = encode(dataclasses.replace(clip, b_frames=b_frames, encoder=REORDERED) if b_frames else clip)
    times = [frame.timestamp_ms for frame in decode(data)[0]]
    frames, _, error = decode(data, **settings)
    assert error is None
    assert numbers(frames) == list(expected)
    assert [frame.timestamp_ms for frame in frames] == [times[number] for number in expected]


def decoded_count(data: bytes, settings: DecodeSettings, start_frame: int = 0) -> int:
    """Return how many pictures the decoder has made."""
    with open_container(io.BytesIO(data), settings, Access(()), None) as container:
        selection = Selection(settings, start_frame)
        decoder = Decoder(container, video_stream(container), settings, selection, start_frame)
        return sum(1 for _ in decoder.frames(never))


def test_what_nobody_wants_and_nobody_refers_to_is_not_decoded() -> None:
    clip = dataclasses.replace(
        INDEX_AT_END,
        frames=61,
        gop=300,
        b_frames=3,
        encoder={**REORDERED, "x264-params": "b-pyramid=none:b-adapt=0:scenecut=0"},
    )
    data = encode(clip)
    assert decoded_count(data, DecodeSettings()) == 61
    assert decoded_count(data, DecodeSettings(every_nth=4)) == 16  # all others are B frames
    assert decoded_count(data, DecodeSettings(max_fps=30 / 4)) == 16


def test_key_frames_alone_are_decoded_where_only_those_are_asked_for() -> None:
    for clip in (MATROSKA, TRANSPORT, INDEX_AT_END, WEBM):
        assert decoded_count(encode(clip), DecodeSettings(keyframes_only=True)) == 3


def test_decoding_begins_at_the_key_frame_before_the_start() -> None:
    assert decoded_count(encode(MATROSKA), DecodeSettings(), start_frame=25) == 10


def with_hidden_frames(data: bytes) -> bytes:
    """Return a VP8 clip in which every fifth frame is told twice, the first time to be decoded only."""
    file = io.BytesIO()
    with av.open(io.BytesIO(data)) as source, av.open(file, "w", format="webm") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(video=0)):
            if packet.size == 0:
                continue
            if number % 5 == 4:
                hidden = av.Packet(bytes([bytes(packet)[0] & ~0x10]) + bytes(packet)[1:])
                hidden.pts = hidden.dts = packet.pts - 10
                hidden.time_base, hidden.stream = packet.time_base, stream
                target.mux(hidden)
            packet.stream = stream
            target.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"every_nth": 3}, range(0, 30, 3)),
        ({"keyframes_only": True}, range(0, 30, 10)),
        ({"first": 17}, range(17, 30)),
    ],
)
def test_frames_that_are_never_shown_are_not_counted(settings: dict[str, Any], expected: range) -> None:
    data = with_hidden_frames(encode(WEBM))
    everything, _, _ = decode(data)
    times = [frame.timestamp_ms for frame in everything]
    assert len(times) == 30
    frames, _, error = decode(data, **settings)
    assert error is None
    assert [frame.frame_number for frame in frames] == list(expected)
    assert [frame.timestamp_ms for frame in frames] == [times[number] for number in expected]


@pytest.mark.parametrize("settings", [{}, {"keyframes_only": True}, {"every_nth": 4}])
def test_nothing_after_the_end_is_read(settings: dict[str, Any]) -> None:
    data = encode(dataclasses.replace(TRANSPORT, frames=200, width=160, height=120, picture=noise))
    file = ForwardOnly(data)
    frames = decode_video(file, DecodeSettings(**settings), Access(()), lambda _: None, never, 0, 25)
    assert list(frames)
    assert file.given < len(data) / 2
