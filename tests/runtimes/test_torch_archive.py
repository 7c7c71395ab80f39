"""What a PyTorch file is told to be without PyTorch, and that looking at it runs nothing. Needs no torch."""

import json
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import pytest

from runtimes import RUNTIMES, get_runtime
from runtimes.errors import ModelLoadError, RuntimeUnavailableError
from runtimes.torch_archive import ProgramKind, read_file
from runtimes.torch_errors import short_text
from runtimes.torch_exported import is_arithmetic

ROOT = Path(__file__).resolve().parents[2]


class Evil:
    """Loading its pickle makes a file: what a stranger's checkpoint might do."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def archive(path: Path, records: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in records.items():
            file.writestr(f"{path.stem}/{name}", content)
    return path


def script(path: Path, **records: str) -> Path:
    """Write what has the records of TorchScript; the library itself would not load it."""
    return archive(path, {"data.pkl": b"", "constants.pkl": b"", "code/__torch__.py": "", **records})


def exported(path: Path, graph: object, **records: str) -> Path:
    return archive(path, {"archive_format": "pt2", "models/model.json": json.dumps(graph), **records})


def test_the_pickle_would_do_harm(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_pickle_that_wants_to_run_code_is_refused_unread(
    tmp_path: Path, protocol: int, zipped: bool
) -> None:
    content = pickle.dumps({"weights": [1, 2], "x": Evil(tmp_path / "ran")}, protocol)
    path = tmp_path / "m.pt"
    if zipped:
        archive(path, {"data.pkl": content, "version": "3"})
    else:
        path.write_bytes(content)
    with pytest.raises(ModelLoadError) as caught:
        read_file(path)
    assert not (tmp_path / "ran").exists()
    assert "\n" not in str(caught.value)
    if protocol >= 2 or zipped:
        assert "would run the code of" in str(caught.value)
        assert "system" in str(caught.value)


def test_a_checkpoint_is_refused_with_what_to_do(tmp_path: Path) -> None:
    content = pickle.dumps(OrderedDict(weight=[1.0]), 2)
    with pytest.raises(ModelLoadError, match=r"weights without a program.*torch\.jit\.trace.*torch\.export"):
        read_file(archive(tmp_path / "m.pt", {"data.pkl": content}))
    (tmp_path / "old.pt").write_bytes(content)
    with pytest.raises(ModelLoadError, match="weights without a program"):
        read_file(tmp_path / "old.pt")


def test_texts_beside_the_program_become_properties(tmp_path: Path) -> None:
    config = {"names": {"0": "cat", "1": "dog"}, "imgsz": [6, 8], "task": "detect", "args": {"dynamic": True}}
    file = read_file(
        script(
            tmp_path / "m.pt",
            **{"extra/config.txt": json.dumps(config), "extra/author": "me", "traced_inputs.pkl": ""},
        )
    )
    assert file.kind is ProgramKind.SCRIPT
    assert file.has_example
    assert file.properties == {
        "names": "{'0': 'cat', '1': 'dog'}",
        "imgsz": "[6, 8]",
        "task": "detect",
        "args": "{'dynamic': True}",
        "author": "me",
    }


@pytest.mark.parametrize("config", ["", "no json", "[1, 2]", "{" * 100_000])
def test_a_broken_config_fails_no_load(tmp_path: Path, config: str) -> None:
    assert read_file(script(tmp_path / "m.pt", **{"extra/config.txt": config})).properties == {}


BROKEN = [
    (b"", "is empty"),
    (b"hello world" * 10, "is not a TorchScript"),
    (b"PK\x03\x04" + bytes(100), "truncated or damaged"),
    (b"\x1c\0\0\0TFL3" + bytes(100), "is a TensorFlow Lite model, not a TorchScript"),
    (b"<!DOCTYPE html>", "is a web page"),
    (b"\x80\x04", "weights without a program"),
]


@pytest.mark.parametrize(("content", "text"), BROKEN)
def test_a_file_that_is_no_model_says_what_it_is(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "m.pt").write_bytes(content)
    with pytest.raises(ModelLoadError, match=text) as caught:
        read_file(tmp_path / "m.pt")
    assert str(tmp_path / "m.pt") in str(caught.value)


def test_a_missing_model_a_folder_and_another_zip(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such file"):
        read_file(tmp_path / "none.pt")
    with pytest.raises(ModelLoadError, match="is a folder"):
        read_file(tmp_path)
    with pytest.raises(ModelLoadError, match="is a zip archive, but not"):
        read_file(archive(tmp_path / "m.pt", {"word/document.xml": "<x/>"}))


CALL = "__import__('os').system('true')"
EVIL_GRAPHS = [
    {"sizes": [{"as_expr": {"expr_str": CALL}}]},
    {"sizes": [{"as_expr": {"expr_str": "(lambda: 0)()"}}]},
    {"tensor_values": {"metadata": {"sizes": [{"as_expr": {"expr_str": CALL}}]}}},
    {"tensor_values": {"as_string": {"sizes": [{"as_expr": {"expr_str": CALL}}]}}},
    {"inputs": [{"as_tensor": {"name": f"x={CALL}"}}]},
    {"tensor_values": {f"x={CALL}": {}}},
    {"nodes": [{"target": f"torch.{CALL}"}]},
    {"forward_arg_names": [f"x={CALL}"]},
    {"in_spec": json.dumps([1, {"context": json.dumps([f"x={CALL}"])}])},
    {"in_spec": "[broken"},
    {"parameter_name": 'x");' + CALL + "#"},
]


@pytest.mark.parametrize("graph", EVIL_GRAPHS)
def test_texts_that_the_library_would_evaluate_are_refused(tmp_path: Path, graph: object) -> None:
    with pytest.raises(ModelLoadError, match="would run as code"):
        read_file(exported(tmp_path / "m.pt2", {"graph": graph}))


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ("data/aotinductor/model/x.so", "native code"),
        ("data/constants/opaque_obj_0", "pickled object"),
    ],
)
def test_parts_that_are_code_are_refused(tmp_path: Path, record: str, text: str) -> None:
    with pytest.raises(ModelLoadError, match=text):
        read_file(exported(tmp_path / "m.pt2", {}, **{record: "x"}))


def test_any_file_among_the_graphs_is_looked_at(tmp_path: Path) -> None:
    path = exported(tmp_path / "m.pt2", {}, **{"models/more.xyz": json.dumps({"expr_str": CALL})})
    with pytest.raises(ModelLoadError, match="would run as code"):
        read_file(path)
    with pytest.raises(ModelLoadError, match="is no JSON"):
        read_file(exported(tmp_path / "m.pt2", {}, **{"models/more.json": "{"}))


def test_ordinary_texts_pass(tmp_path: Path) -> None:
    graph = {
        "nodes": [
            {
                "target": "torch.ops.aten.einsum.default",
                "inputs": [{"name": "equation", "arg": {"as_string": "bij,bjk->bik"}}],
                "metadata": {"stack_trace": 'File "m.py", line 1\n  return f(x, *y)', "torch_fn": "a;b"},
            }
        ],
        "sizes": [{"as_expr": {"expr_str": "Mul(Integer(2), Symbol('s77', positive=True, integer=True))"}}],
        "in_spec": json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": []}]),
        "out_spec": json.dumps([1, {"context": json.dumps(["a (b)"])}]),
        "guards_code": ["L['x'].size()[0] >= 2"],
        "torch_version": "2.13.0+cu130",
        "parameter_name": "model.0.conv-1.weight",
    }
    assert read_file(exported(tmp_path / "m.pt2", graph)).kind is ProgramKind.EXPORTED


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("s0", True),
        ("2*s0 + 1", True),
        ("-(s0//2) % 3", True),
        ("Symbol('s77', positive=True, integer=True)", True),
        ("Add(Integer(1), Mod(Symbol('u0'), Integer(2)))", True),
        ("floor(s0/2)", True),
        ("s0 >= 2", True),
        ("", False),
        ("s0.__class__", False),
        ("eval('1')", False),
        ("Symbol('a b')", False),
        ("Symbol('__import__')", False),
        ("__import__", False),
        ("[x for x in s0]", False),
        ("s0[0]", False),
        ("f'{s0}'", False),
        ("(lambda: 0)()", False),
        ("s0; s1", False),
        ("s0 " + "+ s0" * 10_000, False),
    ],
)
def test_what_counts_as_a_size(text: str, harmless: bool) -> None:
    assert is_arithmetic(text) is harmless


@pytest.mark.parametrize(
    ("long", "short"),
    [
        (
            "The following operation failed in the TorchScript interpreter.\nTraceback of TorchScript, "
            'serialized code (most recent call last):\n  File "m.py", line 3, in forward\nRuntimeError: mat1 '
            "and mat2 shapes\ncannot be multiplied\n",
            "mat1 and mat2 shapes cannot be multiplied",
        ),
        ("Expected 3 channels\nException raised from check at x.cpp:1 (most recent", "Expected 3 channels"),
        ("\x1b[1mred\x1b[0m", "red"),
        ("", "ValueError"),
        ("x" * 1000, "x" * 299 + "…"),
    ],
)
def test_messages_are_shortened(long: str, short: str) -> None:
    assert short_text(ValueError(long)) == short


def test_without_the_library_the_error_says_what_to_install() -> None:
    # A process of its own, in which torch is not there, whatever is installed.
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from runtimes import get_runtime\n"
        "try: get_runtime('torch')\n"
        "except Exception as exc: print(type(exc).__name__, exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(RuntimeUnavailableError.__name__)
    assert "pip install 'inferpipe[torch]'" in done.stdout


def test_the_adapter_gets_the_library_and_not_itself() -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    import torch

    assert type(get_runtime("torch")).__module__ == "runtimes.torch"
    assert RUNTIMES["torch"] == "runtimes.torch:TorchRuntime"
    assert "runtimes" not in str(torch.__file__)
