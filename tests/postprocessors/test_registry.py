"""The table of postprocessors: complete, lazy, and open to other distributions."""

import subprocess
import sys
from importlib import import_module
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import postprocessors
from postprocessors import POSTPROCESSORS, bind
from postprocessors.base import PostprocessorError, PostprocessorSettings
from postprocessors.yolo_families import FAMILIES

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", POSTPROCESSORS)
def test_every_name_leads_to_a_factory(name):
    module, _, attribute = POSTPROCESSORS[name].partition(":")
    assert callable(getattr(import_module(module), attribute))


def test_every_family_has_a_name():
    assert set(FAMILIES) < set(POSTPROCESSORS)


def test_an_unknown_name_is_refused_with_the_known_ones(describe):
    with pytest.raises(PostprocessorError, match='unknown postprocessor "yolov99"; known are: yolo, yolov5'):
        bind("yolov99", describe((1, 84, 8400)), PostprocessorSettings())


def test_other_distributions_register_theirs(monkeypatch, describe):
    offered = EntryPoints(
        [
            EntryPoint("theirs", "postprocessors.raw:bind_raw", postprocessors.ENTRY_POINT_GROUP),
            EntryPoint("raw", "postprocessors.nowhere:bind", postprocessors.ENTRY_POINT_GROUP),
            EntryPoint("gone", "postprocessors.nowhere:bind", postprocessors.ENTRY_POINT_GROUP),
        ]
    )
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: offered.select(group=group))
    assert bind("theirs", describe((1, 10))).name == "raw"
    assert bind("raw", describe((1, 10))).name == "raw", "built-ins cannot be replaced"
    with pytest.raises(PostprocessorError, match='"gone" cannot be imported'):
        bind("gone", describe((1, 10)))
    with pytest.raises(PostprocessorError, match=r"raw, gone, theirs$"):
        bind("unknown", describe((1, 10)))


def test_decoding_loads_no_image_library():
    code = (
        "import sys, postprocessors.yolo, postprocessors.raw;"
        "print(*({'cv2', 'PIL', 'onnxruntime'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
