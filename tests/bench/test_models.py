import numpy as np

from bench.chain import open_chain
from bench.dense_model import ANSWERS, SIDE, write_dense_model
from bench.models import MODELS, ModelFolder
from preprocess.frame import Frame
from protocol.pixel_format import PixelFormat
from runtimes.options import RuntimeOptions


def gray_frames(count: int) -> list[Frame]:
    rows = [np.full((SIDE, SIDE, 3), 40 * number, np.uint8) for number in range(count)]
    return [Frame(row.data.cast("B"), SIDE, SIDE, PixelFormat.RGB) for row in rows]


def test_the_dense_model_takes_batches_and_answers_little(tmp_path) -> None:
    path = tmp_path / "dense.onnx"
    write_dense_model(path, width=64)
    chain = open_chain(str(path), RuntimeOptions(intra_threads=1), "raw")
    lane = chain.compiled.open_lane()
    prepared = [chain.prepare(frame) for frame in gray_frames(4)]
    together = chain.predict_all(lane, prepared)
    alone = [chain.predict(lane, each) for each in prepared]
    chain.compiled.close()
    assert chain.compiled.max_batch_size >= 8
    assert [each["output"].shape for each in together] == [(1, ANSWERS)] * 4
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one["output"], other["output"], rtol=1e-3, atol=1e-5)


def test_the_same_weights_are_written_each_time(tmp_path) -> None:
    for name in "ab":
        write_dense_model(tmp_path / name, width=8)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_kept_models_stay_where_they_are(tmp_path) -> None:
    assert ModelFolder(tmp_path).model("no-op") == MODELS["no-op"]
    assert ModelFolder(tmp_path).model("mine/own.onnx").missing
    assert not ModelFolder(tmp_path).model("fake:sleep?ms=2").missing
