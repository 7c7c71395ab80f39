"""Files on this machine, by their paths and nothing else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from streaming.base import StreamEvent, VideoFrame
from streaming.errors import SourceUnavailableError, StreamError
from streaming.file import FileSource
from streaming.settings import DecodeSettings
from tests.streaming.clips import BY_NAME, MATROSKA, encode


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "a clip: 100 %.mkv"
    path.write_bytes(encode(MATROSKA))
    return path


def frames_of(source: FileSource) -> list[VideoFrame]:
    return list(source.frames(lambda _: None))


def test_a_file_gives_its_frames(clip: Path) -> None:
    events: list[StreamEvent] = []
    frames = list(FileSource(clip, DecodeSettings()).frames(events.append))
    assert [frame.frame_number for frame in frames] == list(range(30))
    assert [event.name for event in events] == ["started"]


def test_a_range_of_frames_is_given(clip: Path) -> None:
    source = FileSource(str(clip), DecodeSettings(every_nth=2), start_frame=5, end_frame=12)
    assert [frame.frame_number for frame in frames_of(source)] == [5, 7, 9, 11]


def test_an_index_at_the_end_is_no_hindrance(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(encode(BY_NAME["index_at_end"]))
    assert len(frames_of(FileSource(path, DecodeSettings()))) == 30


def reason_of(path: object) -> str:
    with pytest.raises(SourceUnavailableError) as caught:
        frames_of(FileSource(path, DecodeSettings()))  # type: ignore[arg-type]
    return caught.value.reason


def test_a_missing_file_is_not_found(tmp_path: Path) -> None:
    assert reason_of(tmp_path / "none.mp4") == "not_found"
    assert reason_of(tmp_path / "none" / "clip.mp4") == "not_found"


def test_a_file_below_a_file_is_not_found(clip: Path) -> None:
    assert reason_of(clip / "clip.mp4") == "not_found"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/clip.mp4", "concat:/a|/b", "lavfi:testsrc", "-", "pipe:0"]
)
def test_a_url_is_no_path(url: str) -> None:
    assert reason_of(url) == "not_found"


def test_a_path_that_no_system_has_is_not_opened() -> None:
    assert reason_of("clip\0.mp4") == "not_found"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert reason_of(tmp_path) == "refused"


def test_a_pipe_without_a_writer_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    assert reason_of(tmp_path / "pipe.mp4") == "refused"


def test_a_file_without_permission_is_refused(clip: Path) -> None:
    clip.chmod(stat.S_IWUSR)
    user = os.geteuid()
    if user == 0:  # root may read every file
        os.seteuid(65534)
    try:
        assert reason_of(clip) == "refused"
    finally:
        os.seteuid(user)


def test_a_playlist_opens_no_other_file(tmp_path: Path, clip: Path) -> None:
    segment = tmp_path / "segment.ts"
    segment.write_bytes(encode(BY_NAME["transport"]))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\nsegment.ts\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(StreamError):
        frames_of(FileSource(playlist, DecodeSettings()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_file_is_closed_when_nobody_wants_more(clip: Path) -> None:
    frames = FileSource(clip, DecodeSettings()).frames(lambda _: None)
    next(frames)
    assert clip.name in opened()
    frames.close()
    assert clip.name not in opened()


def opened() -> set[str]:
    return {link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}


def test_close_ends_the_frames_without_an_error(clip: Path) -> None:
    source = FileSource(clip, DecodeSettings(threads=1))
    frames = source.frames(lambda _: None)
    next(frames)
    source.close()
    source.close()
    assert sum(1 for _ in frames) <= 2


def test_a_missing_library_is_named_with_its_extra(clip: Path) -> None:
    program = (
        "import sys; sys.modules['av'] = None\n"
        "from streaming.errors import UnsupportedStreamError\n"
        "from streaming.file import FileSource\n"
        "from streaming.settings import DecodeSettings\n"
        "try: next(FileSource(sys.argv[1], DecodeSettings()).frames(print))\n"
        "except UnsupportedStreamError as error: print(error)\n"
    )
    root = Path(__file__).resolve().parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", program, str(clip)], cwd=root, capture_output=True, text=True, check=True
    )
    assert "pip install 'inferpipe[video]'" in done.stdout
