"""The subset of YAML that exporters write beside a model."""

from pathlib import Path

import pytest

from runtimes.metadata import read_metadata
from runtimes.metadata_yaml import read_beside, read_pairs

EXPORTED = """\
description: Ultralytics YOLOv8n model trained on coco.yaml
author: Ultralytics
date: '2026-04-22T00:19:30.812450'
docs: https://docs.ultralytics.com
stride: 32
task: detect
imgsz:
- 480
- 640
names:
  0: person
  1: traffic light
  2: 'no'
  3: "it's"
  4: 'child''s seat'
args:
  batch: 1
  int8: true
channels: 3
end2end: false
"""


def test_an_export_s_file() -> None:
    pairs = read_pairs(EXPORTED)
    metadata = read_metadata(pairs)
    assert metadata.labels == ("person", "traffic light", "no", "it's", "child's seat")
    assert (metadata.task, metadata.stride, metadata.image_size) == ("detect", 32, (640, 480))
    assert pairs["date"] == "2026-04-22T00:19:30.812450"
    assert pairs["docs"] == "https://docs.ultralytics.com"
    assert (pairs["channels"], pairs["end2end"]) == ("3", "false")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("names:\n- cat\n- dog\n", ("cat", "dog")),
        ("names:\n  - cat\n  - 'dog, big'\n", ("cat", "dog, big")),
        ("names: [cat, 'dog, big', \"bird\"]", ("cat", "dog, big", "bird")),
        ("names: {0: cat, 1: 'dog: big'}", ("cat", "dog: big")),
        ("names:\n  0: cat\n  2: dog\n", ("cat", "1", "dog")),
        ("names:\n  '0': cat\n  \"1\": dog\n", ("cat", "dog")),
        ("names: [cat,\n  dog,\n  bird]\nstride: 32\n", ("cat", "dog", "bird")),
        ("# of mine\nnames:  # all\n  0: cat # the first\n\n  1: dog\n", ("cat", "dog")),
        ('---\nnames:\n  0: 猫\n  1: "caf\\u00e9"\n...\n', ("猫", "café")),
        ("names:\r\n  0: cat\r\n  1: dog\r\n", ("cat", "dog")),
        ("names:\n  0: cat\n    deeper: x\n  1: 17\n", ("cat", "17")),
        ("names:\n  0: AC/DC\n  1: 10:30\n  2: a - b\n", ("AC/DC", "10:30", "a - b")),
        ("names:\n", ()),
        ("names: &all [cat]", ()),
        ("names: |\n  0: cat\n", ()),
        ("names: []", ()),
        ("names: {}", ()),
        ("names cat dog", ()),
    ],
)
def test_class_names_in_every_style(text: str, labels: tuple[str, ...]) -> None:
    assert read_metadata(read_pairs(text)).labels == labels


def test_a_text_of_several_lines_is_joined() -> None:
    assert read_pairs("description: trained on\n  two sets\nstride: 16\n") == {
        "description": "trained on two sets",
        "stride": "16",
    }


def test_what_lies_beside_a_model(tmp_path: Path) -> None:
    model = tmp_path / "m.xml"
    assert read_beside(model) == {}
    (tmp_path / "metadata.yaml").write_bytes(b"\xef\xbb\xbftask: detect\nauthor: \xff\n")
    assert read_beside(model)["task"] == "detect"
    (tmp_path / "metadata.yaml").write_bytes(b"x" * (5 << 20))
    assert read_beside(model) == {}
    (tmp_path / "metadata.yaml").unlink()
    (tmp_path / "metadata.yaml").mkdir()
    assert read_beside(model) == {}


@pytest.mark.parametrize(
    "text", ["\0", "a" * 100_000, "'" * 50_000, "[" * 50_000, ": : :", "- - -", "{" * 9 + ":"]
)
def test_no_text_is_an_error(text: str) -> None:
    for form in (text, f"names: {text}", f"names:\n  {text}", f"names: [{text}]", f"names: {{{text}}}"):
        read_metadata(read_pairs(form))
