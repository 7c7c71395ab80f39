"""PyTorch files that would run code of their own, as strangers could send them: none of it runs."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from contract import tiny_torch
from contract.tiny_torch import Convolved
from torch import nn

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.errors import ModelLoadError
from runtimes.options import RuntimeOptions
from runtimes.torch import TorchRuntime


def compile_file(path: Path, **options: object) -> CompiledModel:
    return TorchRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


class Evil:
    """Loading its pickle makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def rewritten(path: Path, change: Callable[[str, bytes], bytes]) -> Path:
    """Write an archive anew with other contents; the checksums are right."""
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in records.items():
            archive.writestr(name, change(name, content))
    return path


def evil_archive(marker: Path) -> bytes:
    """Return what torch.save makes of a pickle that runs code."""
    path = marker.with_suffix(".archive")
    torch.save({"weight": Evil(marker)}, path)
    return path.read_bytes()


def with_pickled_weights(name: str, content: bytes) -> bytes:
    """Say in the table of weights that the first one is a pickle."""
    if not name.endswith("model_weights_config.json"):
        return content
    table = json.loads(content)
    next(iter(table["config"].values()))["use_pickle"] = True
    return json.dumps(table).encode()


@pytest.mark.parametrize("record", ["data/sample_inputs/model.pt", "data/weights/weight_0"])
def test_an_exported_program_with_a_pickle_inside_runs_no_code(tmp_path: Path, record: str) -> None:
    path = tiny_torch.exported(tmp_path / "m.pt2", Convolved(), torch.zeros(1, 3, 8, 8))
    evil = evil_archive(tmp_path / "ran")
    rewritten(path, lambda name, content: evil if name.endswith(record) else content)
    if "weights" in record:
        rewritten(path, with_pickled_weights)
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        compile_file(path)
    assert not (tmp_path / "ran").exists()


def test_a_size_that_is_code_runs_no_code(tmp_path: Path) -> None:
    rows = {"dynamic_shapes": ({0: torch.export.Dim("rows", max=5)},)}
    path = tiny_torch.exported(tmp_path / "m.pt2", Convolved(), torch.zeros(2, 3, 8, 8), **rows)
    call = f"__import__('os').system('touch {tmp_path}/ran')"
    symbol = re_symbol(path)
    rewritten(path, lambda _, content: content.replace(symbol.encode(), call.encode()))
    with pytest.raises(ModelLoadError, match="would run as code"):
        compile_file(path)
    assert not (tmp_path / "ran").exists()


def re_symbol(path: Path) -> str:
    """Return the expression of the open axis in a program's file."""
    with zipfile.ZipFile(path) as archive:
        graph = json.loads(archive.read("m/models/model.json"))
    sizes = graph["graph_module"]["graph"]["tensor_values"]["images"]["sizes"]
    return str(sizes[0]["as_expr"]["expr_str"])


def test_a_script_with_a_pickle_inside_runs_no_code(tmp_path: Path) -> None:
    path = tiny_torch.scripted(tmp_path / "m.pt", Convolved())
    evil = pickle.dumps(Evil(tmp_path / "ran"), 2)
    rewritten(path, lambda name, content: evil if name.endswith("/data.pkl") else content)
    with pytest.raises(ModelLoadError, match="cannot be loaded"):
        compile_file(path)
    assert not (tmp_path / "ran").exists()


def test_checkpoints_of_the_library_are_refused(tmp_path: Path) -> None:
    torch.save(Convolved().state_dict(), tmp_path / "weights.pt")
    with pytest.raises(ModelLoadError, match="weights without a program"):
        compile_file(tmp_path / "weights.pt")
    torch.save(nn.Conv2d(1, 1, 1), tmp_path / "module.pt")
    with pytest.raises(ModelLoadError, match=r"would run the code of torch\.nn\.modules\.conv\.Conv2d"):
        compile_file(tmp_path / "module.pt")
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelLoadError, match="weights without a program"):
        compile_file(tmp_path / "old.pt")
