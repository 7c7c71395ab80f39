"""`watch`: clips, damaged ones, stdin; in pipes and on a terminal; and the video that it writes."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import cv2
import msgspec
import numpy as np
import pytest
from cli.command_line import COLUMNS, COMMAND, ENVIRONMENT, ROOT, SCENES, on_terminal, piped, shown

from tests.streaming import clips
from worker.cli import run
from worker.cli.parser import build_parser

SCENE = SCENES / "scene-2-640x480.jpg"
NOOP = ("--runtime", "fake", "--model", "fake:noop?size=64")
VARIABLE_US = (0, 33_367, 66_733, 100_100, 250_000, 250_500, 400_000, 1_000_000, 1_040_000, 1_040_123)
"""A rate that varies, in microseconds; neighbours as close as half a millisecond."""


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def film(path: Path, times_us=VARIABLE_US, container: dict | None = None) -> Path:
    """Write a video of one of the model's scenes, which shifts by a pixel a frame."""
    scene = cv2.imread(str(SCENE))
    tick = Fraction(1, 1_000_000) if path.suffix == ".mp4" else Fraction(1, 1000)
    options = {"movie_timescale": "1000000"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as video:
        stream = video.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        stream.codec_context.time_base = tick
        for number, time_us in enumerate(times_us):
            picture = av.VideoFrame.from_ndarray(np.roll(scene, number, axis=1), format="bgr24")
            picture.pts, picture.time_base = round(Fraction(time_us, 1_000_000) / tick), tick
            video.mux(stream.encode(picture))
        video.mux(stream.encode(None))
    return path


def frames_of(path: Path) -> list[tuple[float, np.ndarray]]:
    """Return a video's frames, blue first, each with its time in milliseconds."""
    with av.open(str(path)) as video:
        return [
            (round(float(frame.pts * frame.time_base * 1000), 3), frame.to_ndarray(format="bgr24"))
            for frame in video.decode(video=0)
        ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with clips of several kinds."""
    path = tmp_path_factory.mktemp("clips")
    film(path / "scene.mp4")
    matroska = clips.encode(replace(clips.MATROSKA, frames=60))
    (path / "gray.mkv").write_bytes(matroska)
    (path / "damaged.mkv").write_bytes(matroska[: len(matroska) * 2 // 3])
    (path / "tail.mp4").write_bytes(clips.encode(clips.INDEX_AT_END))
    (path / "text.mp4").write_text("no video " * 100)
    (path / "empty.mp4").touch()
    return path


def test_json_lines_a_frame_each(folder):
    done = piped("watch", folder / "scene.mp4", "--confidence", 0.3)

    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)
    assert [answer["frameNumber"] for answer in answers] == list(range(10))
    assert [answer["timestampMs"] for answer in answers] == [time / 1000 for time in VARIABLE_US]
    for answer in answers:
        assert (answer["width"], answer["height"], answer["kind"]) == (640, 480, "detections")
        assert answer["detections"]
    assert done.stderr.startswith("10 frames in ")


def test_options_choose_frames_and_objects(folder):
    done = piped("watch", folder / "gray.mkv", *NOOP, "--every-nth", 3, "--frames", 4)
    assert [answer["frameNumber"] for answer in lines(done.stdout)] == [0, 3, 6, 9]

    done = piped("watch", folder / "gray.mkv", *NOOP, "--max-fps", 10)
    assert len(lines(done.stdout)) == 20

    done = piped("watch", folder / "gray.mkv", *NOOP, "--keyframes-only")
    assert [answer["frameNumber"] for answer in lines(done.stdout)] == [0, 10, 20, 30, 40, 50]

    done = piped("watch", folder / "scene.mp4", "--confidence", 0.01, "--classes", "ring,0", "--frames", 2)
    found = {one["className"] for answer in lines(done.stdout) for one in answer["detections"]}
    assert found <= {"ring", "circle"}


@pytest.mark.parametrize("words", [(), ("--out", "boxes.mp4")])
def test_a_container_on_stdin(folder, tmp_path, words):
    for name, frames in (("gray.mkv", 60), ("tail.mp4", 30)):
        with (folder / name).open("rb") as video:
            done = subprocess.run(
                [*COMMAND, "watch", "-", *NOOP, *words, "--force"],
                cwd=tmp_path,
                stdin=video,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            )
        assert done.returncode == 0, done.stderr
        assert [answer["frameNumber"] for answer in lines(done.stdout)] == list(range(frames))
        if words:
            assert len(frames_of(tmp_path / "boxes.mp4")) == frames


def test_boxes_are_where_the_objects_were_found(folder, tmp_path):
    done = piped("watch", folder / "scene.mp4", "--out", tmp_path / "new" / "boxes.mp4", "--confidence", 0.3)

    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)
    before, after = frames_of(folder / "scene.mp4"), frames_of(tmp_path / "new" / "boxes.mp4")
    assert [time for time, _ in after] == [time for time, _ in before] == [t / 1000 for t in VARIABLE_US]
    for answer, (_, was), (_, now) in zip(answers, before, after, strict=True):
        assert now.shape == was.shape
        difference = cv2.absdiff(was, now).max(axis=2)
        boxes = [found["bbox"] for found in answer["detections"]]
        assert boxes
        outside = np.ones(difference.shape, bool)
        for x, y, width, height in boxes:
            edge = difference[round(y) : round(y + height), max(0, round(x) - 1) : round(x) + 2]
            assert np.median(edge) > 40
            # Labels stand above, below or within, and may be broader than a narrow box.
            outside[
                max(0, round(y) - 40) : round(y + height) + 40,
                max(0, round(x) - 160) : round(x + width) + 160,
            ] = 0
        if outside.any():
            assert difference[outside].mean() < 4
    assert not list((tmp_path / "new").glob("*.part*"))


@pytest.mark.parametrize(("name", "codec"), [("a.mkv", "h264"), ("a.webm", "vp9")])
def test_the_name_chooses_the_container(folder, tmp_path, name, codec):
    done = piped("watch", folder / "gray.mkv", *NOOP, "--out", tmp_path / name)

    assert done.returncode == 0, done.stderr
    with av.open(str(tmp_path / name)) as video:
        assert video.streams.video[0].codec_context.name == codec
    before, after = frames_of(folder / "gray.mkv"), frames_of(tmp_path / name)
    assert [time for time, _ in after] == [time for time, _ in before]
    for (_, was), (_, now) in zip(before, after, strict=True):
        assert np.abs(was.astype(int) - now).mean() < 3


@pytest.mark.parametrize("start_us", [1_400_000, 95_000_000])
def test_a_video_that_does_not_begin_at_zero(tmp_path, start_us):
    times = [start_us + 40_000 * number for number in range(5)]
    film(tmp_path / "late.mkv", times)

    done = piped("watch", tmp_path / "late.mkv", *NOOP, "--out", tmp_path / "boxes.mp4")

    assert done.returncode == 0, done.stderr
    kept = start_us if start_us < 60_000_000 else 0  # nobody waits a minute and a half for a picture
    assert [time for time, _ in frames_of(tmp_path / "boxes.mp4")] == [
        (time - start_us + kept) / 1000 for time in times
    ]


def test_a_picture_of_odd_size(tmp_path):
    scene = cv2.resize(cv2.imread(str(SCENE)), (161, 121), interpolation=cv2.INTER_AREA)
    with av.open(str(tmp_path / "odd.mkv"), "w") as video:
        stream = video.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 161, 121, "bgr0"
        for _ in range(5):
            video.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="bgr24")))
        video.mux(stream.encode(None))

    done = piped("watch", tmp_path / "odd.mkv", *NOOP, "--out", tmp_path / "boxes.mp4")

    assert done.returncode == 0, done.stderr
    after = frames_of(tmp_path / "boxes.mp4")
    assert len(after) == 5
    for _, now in after:
        assert now.shape == (122, 162, 3)
        assert np.abs(scene.astype(int) - now[:121, :161]).mean() < 4


def test_a_damaged_video_gives_what_it_holds(folder, tmp_path):
    done = piped("watch", folder / "damaged.mkv", *NOOP)
    with_boxes = piped("watch", folder / "damaged.mkv", *NOOP, "--out", tmp_path / "boxes.mp4")

    for ended in (done, with_boxes):
        assert ended.returncode == 1
        assert_failed(ended.stderr, "damaged.mkv broke off")
    numbers = [answer["frameNumber"] for answer in lines(done.stdout)]
    assert numbers == list(range(len(numbers)))
    assert 20 < len(numbers) < 60
    assert [answer["frameNumber"] for answer in lines(with_boxes.stdout)] == numbers
    assert len(frames_of(tmp_path / "boxes.mp4")) == len(numbers)


def test_frames_that_the_model_fails_on_are_counted_and_written(folder, tmp_path):
    failing = ("--runtime", "fake", "--model", "fake:fail?size=64")
    done = piped("watch", folder / "tail.mp4", *failing, "--out", tmp_path / "boxes.mp4")

    assert done.returncode == 1
    assert {answer["code"] for answer in lines(done.stdout)} == {"inference_failed"}
    assert "30 failed" in done.stderr
    assert done.stderr.count("note:") == 1
    assert len(frames_of(tmp_path / "boxes.mp4")) == 30


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "required: SOURCE"),
        (["ftp://host/a.mp4"], "expected a URL of rtsp"),
        (["screen:1,2,3"], "expected screen:x,y,width,height"),
        (["screen:0,0,0,100"], "expected screen:x,y,width,height"),
        (["a.mkv", "--every-nth", "0"], "expected a number from 1"),
        (["a.mkv", "--max-fps", "fast"], "expected a number from 0.001"),
        (["a.mkv", "--max-fps", "nan"], "expected a number from 0.001"),
        (["a.mkv", "--confidence", "2"], "expected a number from 0 to 1"),
    ],
)
def test_words_that_are_off(words, what, capsys):
    with pytest.raises(SystemExit) as end:
        build_parser().parse_args(["watch", *words])
    assert end.value.code == 2
    assert what in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("word", "name", "source"),
    [
        ("a.mkv", "a.mkv", {"type": "file", "path": str(Path("a.mkv").absolute())}),
        ("camera:2", "camera:2", {"type": "camera", "index": 2}),
        ("camera", "camera", {"type": "file", "path": str(Path("camera").absolute())}),
        ("screen", "screen", {"type": "screen"}),
        ("screen:-10,0,64,48", "screen:-10,0,64,48", {"type": "screen", "region": (-10, 0, 64, 48)}),
        ("-", "stdin", {"type": "push"}),
        ("RTSP://u:p@h:8554/a?b", "rtsp://h:8554/a", {"type": "url", "url": "RTSP://u:p@h:8554/a?b"}),
    ],
)
def test_words_that_name_a_source(word, name, source):
    watched = build_parser().parse_args(["watch", word]).source
    assert (watched.name, msgspec.to_builtins(watched.source)) == (name, source)


def assert_failed(told: str, what: str) -> None:
    told = " ".join(told.split())
    assert "error: " in told
    assert what in told
    assert " next: " in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["watch", "none.mp4"], 1, "there is no such file"),
        (["watch", "docs"], 1, "it is a folder"),
        (["watch", "/dev/null"], 1, "it is no regular file"),
        (["watch", "{folder}/gray.mkv", "--out", "boxes.gif"], 2, "its name must end in .mp4"),
        (["watch", "{folder}/gray.mkv", "--out", "{folder}/tail.mp4"], 1, "it is there already"),
        (["watch", "{folder}/gray.mkv", "--out", "{folder}/gray.mkv", "--force"], 1, "what is watched"),
    ],
)
def test_what_cannot_be_is_told_before_a_worker_is_started(folder, words, status, what, capsys):
    before = children()
    assert run([word.format(folder=folder) for word in words]) == status
    assert_failed(capsys.readouterr().err, what)
    assert children() == before


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["watch", "{folder}/gray.mkv", "--classes", "dog"], 2, "no class 'dog'"),
        (["watch", "{folder}/text.mp4"], 1, "text.mp4 cannot be watched"),
        (["watch", "{folder}/empty.mp4"], 1, "empty.mp4 cannot be watched"),
        (["watch", "http://127.0.0.1:9/a.mp4"], 1, "http://127.0.0.1:9/a.mp4 cannot be watched"),
        (["watch", "{folder}/gray.mkv", "--model", "none.onnx"], 1, "the model none.onnx cannot be loaded"),
        (["watch", "{folder}/gray.mkv", "--out", "/proc/boxes.mp4"], 1, "boxes.mp4 cannot be written"),
    ],
)
def test_failures_say_what_and_what_to_do(folder, words, status, what):
    done = piped(*(word.format(folder=folder) for word in words))

    assert done.returncode == status, done.stderr
    assert_failed(done.stderr, what)
    assert not list(folder.glob("*.part*"))


def test_a_password_in_a_url_is_told_to_nobody():
    for words in ((), ("--out", "boxes.mp4")):
        done = piped("watch", "http://anna:secret@127.0.0.1:9/a.mp4?token=hidden", *NOOP, *words)
        assert done.returncode == 1
        assert not any(word in done.stdout + done.stderr for word in ("anna", "secret", "hidden"))


def test_no_window_is_told_before_anything_else(folder):
    done = piped("watch", folder / "gray.mkv", "--show", env={"DISPLAY": ""})
    assert done.returncode == 1
    assert done.stdout == ""
    told = " ".join(done.stderr.split())
    assert told.startswith("error: no window can be opened")
    assert "--out" in told


@pytest.mark.parametrize(
    ("gone", "words", "extra"),
    [
        ("av", ("gray.mkv",), "stream"),
        ("av", ("screen", "--out", "boxes.mp4"), "stream"),
        ("mss", ("screen",), "screen"),
        ("cv2", ("camera:0",), "opencv"),
    ],
)
def test_a_library_that_is_missing(folder, gone, words, extra):
    script = (
        "import sys\n"
        f"import importlib.util as u; find = u.find_spec; sys.modules[{gone!r}] = None\n"
        f"u.find_spec = lambda name: None if name == {gone!r} else find(name)\n"
        "from worker.cli import run\n"
        "try:\n    run(['watch', '--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"sys.exit(run(['watch', *{words!r}]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1, done.stderr
    assert f"error: {gone} cannot be imported" in done.stderr
    assert f"next:  pip install 'inferpipe[{extra}]'" in done.stderr


def test_on_a_terminal_a_bar_that_leaves_and_a_table_that_stays(folder):
    status, written = on_terminal("watch", folder / "scene.mp4", "--confidence", 0.3)

    assert status == 0, written
    kept = shown(written)
    assert max(map(len, kept)) <= COLUMNS
    drawn = [line for line in written.split("\r\x1b[K") if " fps" in line]
    assert drawn
    assert all("░" in line or "█" in line for line in drawn)
    assert "/0:01" in drawn[0]
    assert " (most " in drawn[0]
    assert not any(" fps" in line for line in kept)
    assert any(line.startswith("class") for line in kept)
    assert "10 frames in " in written


def children(parent: int | str = "self") -> list[str]:
    """Return the ids of a process's children."""
    threads = Path(f"/proc/{parent}/task").iterdir()
    return [child for thread in threads for child in (thread / "children").read_text().split()]


def until(process: subprocess.Popen[str], lines_wanted: int) -> list[dict]:
    return [json.loads(process.stdout.readline()) for _ in range(lines_wanted)]


ENDLESS = clips.encode(replace(clips.MATROSKA, frames=3000))


@pytest.mark.parametrize("words", [(), ("--out", "boxes.mp4")])
def test_a_person_interrupts(tmp_path, words):
    """What was seen is told, the video holds it, and no process stays."""
    (tmp_path / "long.mkv").write_bytes(ENDLESS)
    out = tmp_path / "boxes.mp4"
    slow = ("--runtime", "fake", "--model", "fake:noop?size=64&ms=5")
    words = ("--out", out) if words else ()
    status, written = on_terminal(
        "watch", tmp_path / "long.mkv", *slow, *words, keys=b"\x03", keys_after=b" fps"
    )

    assert status == 130
    assert "interrupted" in written
    assert "Traceback" not in written
    assert " in " in written
    (told,) = [line for line in shown(written) if " frames in " in line or " frame in " in line]
    frames = int(told.split()[0])
    assert 0 < frames < 3000
    if words:
        assert frames <= len(frames_of(out)) <= frames + 1  # one may have been written and not yet told
        assert list(tmp_path.glob("*.part*")) == []


@pytest.mark.parametrize("words", [(), ("--out", "boxes.mp4")])
def test_an_interrupt_while_stdin_says_nothing(tmp_path, words):
    (tmp_path / "temp").mkdir()
    process = subprocess.Popen(
        [*COMMAND, "watch", "-", *NOOP, *words],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path / "temp")},
    )
    process.stdin.buffer.write(ENDLESS[:50_000])
    process.stdin.buffer.flush()
    until(process, 10)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    assert process.wait(20) == 130
    assert time.monotonic() - began < 10
    process.stdin.close()
    told = process.stderr.read()
    assert "Traceback" not in told
    assert " frames in " in told
    assert [path for path in (tmp_path / "temp").rglob("*") if path.is_file()] == []
    process.stdout.close()
    process.stderr.close()


def test_a_reader_that_has_seen_enough(folder):
    process = subprocess.Popen(
        [*COMMAND, "watch", str(folder / "gray.mkv"), *NOOP],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(20) == 141
    assert "Traceback" not in told


def test_a_worker_that_is_killed_leaves_a_video_of_what_was_seen(tmp_path):
    (tmp_path / "long.mkv").write_bytes(ENDLESS)
    slow = ("--runtime", "fake", "--model", "fake:noop?size=64&ms=5")
    process = subprocess.Popen(
        [*COMMAND, "watch", str(tmp_path / "long.mkv"), *slow, "--out", str(tmp_path / "boxes.mp4")],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until(process, 5)
    (child,) = children(process.pid)
    os.kill(int(child), signal.SIGKILL)
    answers, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "error: the worker ended" in told
    assert len(frames_of(tmp_path / "boxes.mp4")) == 5 + len(lines(answers))
