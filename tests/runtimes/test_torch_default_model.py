"""The default model's own network as a PyTorch program, against the same network run by torch itself."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed")

import torch
from contract import tiny_torch
from torch import nn

from model_files import ModelFiles
from runtimes.base import CompiledModel
from runtimes.options import RuntimeOptions
from runtimes.spec import DYNAMIC
from runtimes.torch import TorchRuntime

ROOT = Path(__file__).resolve().parents[2]


def compile_file(path: Path, **options: object) -> CompiledModel:
    return TorchRuntime().compile(ModelFiles(path=path, uri=str(path)), RuntimeOptions(**options))


@pytest.fixture(scope="module")
def detector() -> nn.Module:
    """Return the default model's network with its weights, as the ONNX file holds them."""
    sys.path.insert(0, str(ROOT))
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    from onnx import numpy_helper

    from tools.detector.export import Deployed
    from tools.detector.model import Detector

    weights = {
        item.name: torch.from_numpy(numpy_helper.to_array(item).copy())
        for item in onnx.load(ROOT / "models" / "shapes.onnx").graph.initializer
    }
    classes = len(weights["detector.head.names.4.bias"])
    network = Deployed(Detector(classes)).eval()
    missing, unexpected = network.load_state_dict(weights, strict=False)
    assert not unexpected
    assert all("hints" in name for name in missing)  # of training alone
    return network


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["shapes.pt", "shapes.pt2"])
def test_the_default_model_s_network(detector: nn.Module, tmp_path: Path, name: str) -> None:
    config = {"imgsz": [640, 640], "names": {str(index): f"c{index}" for index in range(8)}, "stride": 32}
    example = torch.zeros(2, 3, 640, 640)
    if name.endswith(".pt"):
        path = tiny_torch.traced(tmp_path / name, detector, example, config=config)
    else:
        path = tiny_torch.exported(
            tmp_path / name,
            detector,
            example,
            extra={"config.txt": json.dumps(config)},
            dynamic_shapes=({0: torch.export.Dim("batch", max=8)},),
        )
    model = compile_file(path)
    assert model.inputs[0].shape == (DYNAMIC, 3, 640, 640)
    assert model.outputs[0].shape[1:] == (12, 8400)
    assert len(model.metadata.labels) == 8
    picture = np.random.default_rng(1).random((1, 3, 640, 640), np.float32)
    with torch.inference_mode():
        expected = detector(torch.from_numpy(picture)).numpy()
    for result in model.open_lane().infer([{"images": picture}] * 2):
        np.testing.assert_allclose(result["output"], expected, rtol=1e-3, atol=2e-3)
