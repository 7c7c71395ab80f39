"""What a model's configuration asks of its runtime."""

import pytest

from preprocess.buffers import BufferPool
from runtimes.errors import ModelLoadError
from runtimes.options import RuntimeOptions
from worker.config import parse_model, parse_worker
from worker.loading import ModelLoader
from worker.pictures import Pictures
from worker.pipeline import Stages
from worker.pools import PreparePool
from worker.shares import PredictShares


class RecordingRuntime:
    """A double of a runtime that keeps what it is asked for, and loads nothing."""

    def __init__(self) -> None:
        self.options: RuntimeOptions | None = None

    def compile(self, model, options):
        self.options = options
        raise ModelLoadError("a double loads nothing")


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, RuntimeOptions(lanes=2)),
        (
            {"device": "gpu", "intraThreads": 3, "interThreads": 4, "spinning": True},
            RuntimeOptions("gpu", 2, 3, 4, True),
        ),
        (
            {"performanceHint": "THROUGHPUT", "streams": 2, "cacheDir": "/tmp/c", "half": False},
            RuntimeOptions(lanes=2, hint="throughput", streams=2, cache_dir="/tmp/c", half=False),
        ),
    ],
)
def test_keys_reach_the_runtime(monkeypatch, tmp_path, keys, expected):
    runtime = RecordingRuntime()
    monkeypatch.setattr("worker.loading.get_runtime", lambda _: runtime)
    (tmp_path / "m.bin").write_bytes(b"x")
    config, _ = parse_model({"path": str(tmp_path / "m.bin"), **keys}, "config")
    worker, _ = parse_worker({}, 3)
    loader = ModelLoader(worker, 2, Stages(PreparePool(1), PredictShares(2), Pictures(BufferPool(0))))

    with pytest.raises(ModelLoadError):
        loader.load(config, "double", replaces=False)
    assert runtime.options == expected
