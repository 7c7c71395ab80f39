"""What a `stream_open` says: every source and option, and what is refused with its name."""

import msgspec
import pytest

from protocol.errors import ErrorCode, WireError
from protocol.options import NO_OPTIONS, RequestOptions
from protocol.stream_open import (
    SOURCE_TYPES,
    CameraFrom,
    FileFrom,
    PacketsFrom,
    PushFrom,
    ScreenFrom,
    StreamOptions,
    UrlFrom,
    parse_source,
    parse_stream_options,
)

SOURCES = [
    ({"type": "push"}, PushFrom()),
    ({"type": "packets"}, PacketsFrom()),
    ({"type": "file", "path": "a.mp4"}, FileFrom("a.mp4")),
    ({"type": "file", "path": "a.mp4", "startFrame": 5.0, "endFrame": 9}, FileFrom("a.mp4", 5, 9)),
    ({"type": "url", "url": "rtsp://door"}, UrlFrom("rtsp://door")),
    (
        {"type": "url", "url": "http://a/b.ts", "reconnect": True, "timeoutMs": 500},
        UrlFrom("http://a/b.ts", True, 500),
    ),
    ({"type": "camera"}, CameraFrom()),
    (
        {"type": "camera", "index": 2, "width": 1280, "height": 720, "fps": 29.97},
        CameraFrom(2, 1280, 720, 29.97),
    ),
    ({"type": "screen"}, ScreenFrom()),
    ({"type": "screen", "region": [-10, 0, 640.0, 480], "fps": 5}, ScreenFrom((-10, 0, 640, 480), 5)),
]


@pytest.mark.parametrize(("fields", "source"), SOURCES)
def test_sources(fields, source):
    assert parse_source(fields) == source
    assert parse_source(msgspec.to_builtins(source)) == source


def test_every_source_is_tested():
    assert {fields["type"] for fields, _ in SOURCES} == set(SOURCE_TYPES)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "source type must be one of push, packets, file, url, camera, screen, got null"),
        ({"type": "usb"}, 'got "usb"'),
        ({"type": ["push"]}, "source type must be one of"),
        ({"type": "push", "path": "a"}, "source push: .*path"),
        ({"type": "file"}, "source file: .*path"),
        ({"type": "file", "path": ""}, "source file: path: expected str of length >= 1"),
        ({"type": "file", "path": "a\0b"}, "source file: path"),
        ({"type": "file", "path": "a", "startFrame": -1}, "source file: startFrame"),
        ({"type": "camera", "fps": 0}, "source camera: fps: expected float > 0"),
        ({"type": "screen", "region": [0, 0, 0, 5]}, "source screen: region"),
        ({"type": "url", "url": "x", "timeoutMs": 1}, "source url: timeoutMs"),
    ],
)
def test_unusable_sources_name_the_field(fields, words):
    with pytest.raises(WireError, match=words) as caught:
        parse_source(fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_options_are_sorted_by_who_reads_them():
    both = {"maxFps": 5, "everyNth": 3.0, "drop": "oldest", "confidence": 0.5, "source": "door"}
    own, others = parse_stream_options(both)
    assert own == StreamOptions(max_fps=5, every_nth=3, drop="oldest")
    assert others == RequestOptions(confidence=0.5, source="door")


def test_no_options():
    assert parse_stream_options({}) == (StreamOptions(), NO_OPTIONS)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"maxfps": 5}, 'unknown option "maxfps" .did you mean "maxFps"'),
        ({"confidance": 5}, 'unknown option "confidance" .did you mean "confidence"'),
        ({"drop": "newest"}, "option drop: "),
        ({"everyNth": 0}, "option everyNth: expected int >= 1"),
        ({"everyNth": 1.5}, "option everyNth"),
        ({"maxFps": 0}, "option maxFps"),
        ({"iou": 2}, "option iou"),
    ],
)
def test_unusable_options_are_named(options, words):
    with pytest.raises(WireError, match=words) as caught:
        parse_stream_options(options)
    assert caught.value.code is ErrorCode.BAD_REQUEST
