"""`detect`: pictures of many kinds, in pipes and on a terminal."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli.command_line import COLUMNS, COMMAND, ENVIRONMENT, ROOT, SCENES, on_terminal, piped, shown

SCENE = SCENES / "scene-2-640x480.jpg"
NAMES = sorted(path.name for path in SCENES.glob("*.jpg"))
TURNED_RIGHT = 6
"""EXIF: the picture is to be turned by 90° clockwise to be seen upright."""


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Return a JPEG with an EXIF segment of one entry behind its first two bytes."""
    tiff = struct.pack("<2sHI H HHIHH I", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + struct.pack(">2sH", b"\xff\xe1", len(body) + 2) + body + jpeg[2:]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a good picture among broken ones, and a file that is none."""
    path = tmp_path_factory.mktemp("shots")
    shutil.copy(SCENE, path / "good.jpg")
    (path / "broken.jpg").write_bytes(SCENE.read_bytes()[:9000])
    (path / "empty.png").touch()
    (path / "text.jpg").write_text("no picture")
    (path / "notes.txt").write_text("not even by name")
    return path


def test_json_lines_in_the_order_of_the_files_and_copies_of_all(tmp_path):
    done = piped("detect", SCENES, "--out", tmp_path / "new" / "boxes", "--in-flight", 3)

    assert done.returncode == 0, done.stderr
    answers = lines(done.stdout)
    assert [answer["file"].rpartition("/")[2] for answer in answers] == NAMES
    for answer in answers:
        assert answer["kind"] == "detections"
        original = cv2.imread(answer["file"])
        copy = cv2.imread(answer["copy"])
        assert copy.shape == original.shape
        assert answer["frameSize"] == f"{original.shape[1]}x{original.shape[0]}"


def test_a_box_is_drawn_where_it_was_found(tmp_path):
    (answer,) = lines(piped("detect", SCENE, "--out", tmp_path, "--confidence", 0.01).stdout)

    difference = cv2.absdiff(cv2.imread(str(SCENE)), cv2.imread(answer["copy"])).max(axis=2)
    x, y, width, height = map(round, answer["detections"][0]["bbox"])
    around = difference[max(0, y - 2) : y + height + 3, max(0, x - 2) : x + width + 3]
    assert around.max() > 100


def test_one_broken_file_among_good_ones(folder):
    done = piped("detect", folder)

    assert done.returncode == 1
    by_name = {answer["file"].rpartition("/")[2]: answer for answer in lines(done.stdout)}
    assert sorted(by_name) == ["broken.jpg", "empty.png", "good.jpg", "text.jpg"]
    assert "detections" in by_name["good.jpg"]
    for name in ("broken.jpg", "empty.png", "text.jpg"):
        assert by_name[name]["code"] == "decode_failed"
        assert f"{name}: {by_name[name]['error'].removeprefix('jpeg decode failed: ')}" in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["missing.jpg"], "not_found"),
        (["models/*.gif"], "not_found"),
        (["docs"], "not_found"),
        (["/dev/null"], "unreadable"),
    ],
)
def test_words_that_give_no_picture(words, code):
    done = piped("detect", *words)

    assert done.returncode == 1
    assert [(answer["file"], answer["code"]) for answer in lines(done.stdout)] == [(words[0], code)]
    assert done.stderr.count("\n") == 1


def test_a_glob_that_no_shell_has_expanded_and_files_named_twice():
    done = piped("detect", "models/scenes/scene-[12]*", SCENES.relative_to(SCENES.parents[1]) / NAMES[0])

    assert done.returncode == 0, done.stderr
    assert [answer["file"].rpartition("/")[2] for answer in lines(done.stdout)] == NAMES[:2]


def test_a_turned_picture_is_seen_and_drawn_upright(tmp_path):
    upright = cv2.imread(str(SCENE))
    lying = cv2.imencode(".jpg", cv2.rotate(upright, cv2.ROTATE_90_COUNTERCLOCKWISE))[1].tobytes()
    (tmp_path / "turned.jpg").write_bytes(with_orientation(lying, TURNED_RIGHT))

    done = piped("detect", tmp_path / "turned.jpg", "--out", tmp_path / "out", "--confidence", 1)

    (answer,) = lines(done.stdout)
    assert answer["frameSize"] == "640x480"
    copy = cv2.imread(answer["copy"])
    assert copy.shape == upright.shape
    assert np.abs(copy.astype(int) - upright).mean() < 5


def test_copies_take_no_other_files_place(tmp_path):
    for name in ("a/x.jpg", "b/x.jpg", "b/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.full((32, 32, 3), 90, np.uint8))
    before = (tmp_path / "a/x.jpg").read_bytes()

    done = piped("detect", tmp_path / "a", tmp_path / "b", "--out", tmp_path / "a")

    copies = [answer["copy"].rpartition("/")[2] for answer in lines(done.stdout)]
    assert copies == ["x-2.jpg", "x-3.jpg", "x-4.jpg"]
    assert (tmp_path / "a/x.jpg").read_bytes() == before


def test_gray_pictures_are_copied_in_color(tmp_path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((40, 60), 128, np.uint8))
    (answer,) = lines(piped("detect", tmp_path / "gray.png", "--out", tmp_path / "out").stdout)
    assert cv2.imread(answer["copy"]).shape == (40, 60, 3)


def test_options_reach_the_worker():
    (answer,) = lines(piped("detect", SCENE, "--confidence", "0.01", "--classes", "ring,0").stdout)
    assert {found["className"] for found in answer["detections"]} <= {"ring", "circle"}


def test_labels_of_a_file(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(f"thing {number}" for number in range(8)))
    (answer,) = lines(piped("detect", SCENE, "--labels", tmp_path / "names.txt", "--confidence", 0.01).stdout)
    assert answer["detections"]
    assert all(found["className"] == f"thing {found['classId']}" for found in answer["detections"])


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["detect"], 2, "required: IMAGE|FOLDER|GLOB"),
        (["detect", SCENE, "--confidence", "2"], 2, "expected a number from 0 to 1, got '2'"),
        (["detect", SCENE, "--in-flight", "0"], 2, "expected a number from 1 to 256"),
        (["detect", SCENE, "--classes", "dog"], 2, "no class 'dog'"),
        (["detect", SCENE, "--model", "none.onnx"], 1, "no such file: none.onnx"),
        (["detect", SCENE, "--model", "README.md", "--runtime", "onnxruntime"], 1, "README.md is not"),
        (["detect", SCENE, "--runtime", "steam"], 1, "expected one of auto"),
        (["detect", SCENE, "--labels", "none.txt"], 1, "the labels none.txt cannot be read"),
        (["detect", SCENE, "--out", "README.md"], 1, "README.md cannot be used"),
    ],
)
def test_failures_say_what_and_what_to_do(words, status, what):
    done = piped(*words)

    assert done.returncode == status
    assert done.stdout == ""
    told = " ".join(done.stderr.split())
    assert told.startswith("error: ")
    assert what in told
    assert " next: " in told
    assert "Traceback" not in told


def test_debug_shows_the_traceback():
    assert "Traceback" in piped("detect", SCENE, "--labels", "none.txt", "--debug").stderr


def test_a_table_on_a_terminal_that_no_line_leaves(tmp_path):
    status, written = on_terminal("detect", SCENES, "--out", tmp_path)

    assert status == 0, written
    kept = shown(written)
    assert max(map(len, kept)) <= COLUMNS
    assert "█" in written
    assert not any("█" in line for line in kept)
    for name in NAMES:
        assert any(line.startswith(name) for line in kept)
    assert f"{len(NAMES)} pictures" in written


def test_json_on_a_terminal_when_it_is_asked_for():
    status, written = on_terminal("detect", SCENE, "--json")

    assert status == 0
    assert [json.loads(line)["file"] for line in shown(written) if line.startswith("{")] == [str(SCENE)]


def test_failures_on_a_terminal(folder):
    status, written = on_terminal("detect", folder)

    assert status == 1
    assert "3 failed" in written
    assert "✗ decode_failed" in written


HANGING = ("detect", SCENES, "--model", "fake:hang?size=64", "--runtime", "fake")


def test_a_worker_that_is_killed():
    process = subprocess.Popen(
        [*COMMAND, *map(str, HANGING)],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    os.kill(child_of(process.pid), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "error: the worker" in told
    assert "Traceback" not in told


def child_of(parent: int) -> int:
    """Wait for a process's child, and return its id."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    for _ in range(2000):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.01)
    raise AssertionError("no child")


def test_a_person_interrupts():
    status, written = on_terminal(*HANGING, keys=b"\x03", keys_after=b"is loaded")

    assert status == 130
    assert "interrupted" in written
    assert "Traceback" not in written
