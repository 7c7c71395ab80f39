"""The videos that are measured: files of ../shared/data/videos, and clips without an end, made here."""

import struct
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from bench.pictures import drawn_scene, variants
from bench.side_maker import LackingError

VIDEOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "videos"

NO_PYAV = "streams need PyAV: pip install 'inferpipe[stream]'"

FRAMES, FPS = 30, 30
"""Of one turn of an endless clip."""

SIZE = 640, 360

_TICK = Fraction(1, 90_000)
_PERIOD = round(1 / FPS / _TICK)
_STEP = 6
"""Pixels that the picture moves from frame to frame."""

_GRAIN = 64
"""Levels of noise: what a stream may keep on the disk is to be a few seconds of it, not minutes."""

_BOX = struct.Struct(">I4s")
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def require_pyav() -> None:
    """Raise LackingError where PyAV is not installed; it is imported where it is used."""
    if find_spec("av") is None:
        raise LackingError(NO_PYAV)


def video(name: str) -> Path:
    """Return the file of a clip: one of `VIDEOS`, or what a path leads to; it may not be there."""
    return VIDEOS / name


def packet_count(path: Path) -> int:
    """Return how many frames the video of a file has, without decoding it."""
    import av  # noqa: PLC0415 - see require_pyav

    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(video=0))


def endless(container: str, folder: Path) -> Iterator[bytes]:
    """Give turn after turn of a clip of `FRAMES` frames, as one container whose timestamps grow.

    What was given is whole after every turn: a stream may end there.

    Args:
        container: "mpegts", or "mp4" for a fragmented one.
        folder: where the clip is written.
    """
    path = folder / "turn.mp4"
    _encode(path, _FRAGMENTED if container == "mp4" else {})
    return _fragments(path.read_bytes()) if container == "mp4" else _transport(path)


def _encode(path: Path, muxer: dict[str, str]) -> None:
    import av  # noqa: PLC0415 - see require_pyav

    width, height = SIZE
    scene = variants(drawn_scene(), width, height)[0]
    grain = np.random.default_rng(0).integers(0, _GRAIN, (height, width + _STEP * FRAMES, 3), np.uint8)
    with av.open(str(path), "w", format="mp4", container_options=muxer) as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"preset": "ultrafast", "x264-params": "scenecut=0"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = FRAMES, 0
        stream.time_base = stream.codec_context.time_base = _TICK
        for number in range(FRAMES):
            noise = grain[:, _STEP * number : _STEP * number + width]
            picture = np.ascontiguousarray(np.roll(scene, _STEP * number, axis=1) // 2 + noise)
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            frame.pts, frame.time_base = number * _PERIOD, _TICK
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class _Sink:
    """What a muxer writes into, without a way back."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        """Return what has come, and forget it."""
        data = b"".join(self.parts)
        self.parts.clear()
        return data


def _transport(path: Path) -> Iterator[bytes]:
    import av  # noqa: PLC0415 - see require_pyav

    with av.open(str(path)) as clip:
        template = clip.streams.video[0]
        packets = [packet for packet in clip.demux(template) if packet.size]
        data = [(bytes(packet), packet.is_keyframe) for packet in packets]
        sink = _Sink()
        with av.open(sink, "w", format="mpegts", options={"flush_packets": "1"}) as out:
            stream = out.add_stream_from_template(template)
            shown = 0
            while True:
                for content, is_key in data:
                    packet = av.Packet(content)
                    packet.stream, packet.time_base = stream, _TICK
                    packet.pts = packet.dts = shown
                    packet.is_keyframe = is_key
                    out.mux_one(packet)
                    shown += _PERIOD
                yield sink.take()


def _fragments(file: bytes) -> Iterator[bytes]:
    """Give the header with the first fragment, then the same fragment again, each later than the last."""
    boxes = list(_boxes(file, 0, len(file)))
    begin = next(start for name, start, _ in boxes if name == b"moof")
    end = max(end for name, _, end in boxes if name == b"mdat")
    assert sum(name == b"moof" for name, _, _ in boxes) == 1
    fragment = bytearray(file[begin:end])
    sequence = _find(fragment, b"moof", b"mfhd") + 12
    decode_time = _find(fragment, b"moof", b"traf", b"tfdt")
    assert fragment[decode_time + 8] == 1, "a tfdt of version 0 ends after hours"
    yield file[:end]
    for turn in range(1, 1 << 32):
        struct.pack_into(">I", fragment, sequence, turn + 1)
        struct.pack_into(">Q", fragment, decode_time + 12, turn * FRAMES * _PERIOD)
        yield bytes(fragment)


def _boxes(data: bytes | bytearray, begin: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Give the boxes of a part of a file: name, begin, end."""
    while begin < end:
        size, name = _BOX.unpack_from(data, begin)
        yield name, begin, begin + size
        begin += size


def _find(data: bytes | bytearray, *path: bytes) -> int:
    """Return where a box begins, by the names of those that it lies in."""
    begin, end, found = 0, len(data), 0
    for name in path:
        found, end = next((at, stop) for each, at, stop in _boxes(data, begin, end) if each == name)
        begin = found + _BOX.size
    return found
