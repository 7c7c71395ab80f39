"""The doubles do what their names say."""

import threading
import time

import numpy as np
import pytest

from model_files import ModelRef, resolve
from runtimes.base import CompiledModel
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.fake import FAKES, FakeRuntime
from runtimes.options import RuntimeOptions
from runtimes.picture_ids import draw_id
from runtimes.spec import Layout, TensorMap


def make(name: str) -> CompiledModel:
    return FakeRuntime().compile(resolve(ModelRef(f"fake:{name}")), RuntimeOptions())


def picture(value: float = 0.5, size: int = 64) -> TensorMap:
    return {"images": np.full((1, 3, size, size), value, np.float32)}


def test_noop_finds_nothing_and_costs_nothing() -> None:
    model = make("noop?size=64&labels=cat,dog")
    assert (model.inputs[0].image_size, model.inputs[0].dtype) == ((64, 64), "float32")
    assert (model.metadata.labels, model.metadata.task) == (("cat", "dog"), "detect")
    first, second = model.open_lane().infer([picture(), picture()])
    assert first["output0"].shape == (1, 300, 6)
    assert not first["output0"].any()
    assert np.shares_memory(first["output0"], second["output0"])
    assert not first["output0"].flags.writeable


@pytest.mark.parametrize(
    ("query", "shape", "dtype", "layout"),
    [
        ("", (-1, 3, 640, 640), "float32", Layout.NCHW),
        ("?size=32", (-1, 3, 32, 32), "float32", Layout.NCHW),
        ("?width=48", (-1, 3, 640, 48), "float32", Layout.NCHW),
        ("?width=48&size=32", (-1, 3, 32, 48), "float32", Layout.NCHW),
        ("?size=32&layout=nhwc&channels=1", (-1, 32, 32, 1), "float32", Layout.NHWC),
        ("?size=32&dtype=uint8&batch=1", (1, 3, 32, 32), "uint8", Layout.NCHW),
        ("?size=32&dtype=float16", (-1, 3, 32, 32), "float16", Layout.NCHW),
    ],
)
def test_options_shape_the_input(query: str, shape: tuple[int, ...], dtype: str, layout: Layout) -> None:
    [spec] = make(f"noop{query}").inputs
    assert (spec.shape, spec.dtype, spec.layout) == (shape, dtype, layout)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nobody", "unknown fake model 'nobody'"),
        ("", "unknown fake model ''"),
        ("noop?colour=red", "unknown option 'colour'"),
        ("noop?size=0", "'size'"),
        ("noop?size=many", "'size'"),
        ("noop?size=99999999", "'size'"),
        ("noop?size=", "'size'"),
        ("noop?size", "cannot read the options"),
        ("noop?size=1&size=2", "twice"),
        ("noop?dtype=float128", "'dtype'"),
        ("noop?layout=chw", "'layout'"),
        ("noop?channels=2", "'channels'"),
        ("noop?ms=-1", "'ms'"),
        ("noop?ms=nan", "'ms'"),
        ("noop?batch=0", "'batch'"),
        ("loadfail", "never loads"),
    ],
)
def test_what_cannot_be_made_says_why(name: str, text: str) -> None:
    with pytest.raises(ModelLoadError) as caught:
        make(name)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", sorted(FAKES.keys() - {"loadfail", "slowload"}))
def test_every_fake_loads(name: str) -> None:
    make(f"{name}?size=16").close()


def test_echo_answers_the_number_in_the_picture() -> None:
    lane = make("echo?size=64").open_lane()
    numbers = [0, 1, 12345, 65535]
    batch = [
        {"images": np.ascontiguousarray(draw_id(n, 64, 64).transpose(2, 0, 1)[None], np.float32) / 255}
        for n in numbers
    ]
    for number, result in zip(numbers, lane.infer(batch), strict=True):
        rows = result["output0"][0]
        assert rows[0].tolist() == [0, 0, 64, 64, 1, number]
        assert not rows[1:].any()


def test_echo_finds_nothing_where_no_number_is() -> None:
    [result] = make("echo?size=64").open_lane().infer([picture(114 / 255)])
    assert not result["output0"].any()


def test_echo_reads_uint8_nhwc_one_channel() -> None:
    lane = make("echo?size=32&dtype=uint8&layout=nhwc&channels=1").open_lane()
    [result] = lane.infer([{"images": np.ascontiguousarray(draw_id(777, 32, 32)[None, :, :, :1])}])
    assert result["output0"][0, 0, 5] == 777


def test_nan_has_a_row_with_a_score() -> None:
    [result] = make("nan?size=64").open_lane().infer([picture()])
    assert np.isnan(result["output0"][0, 0, :4]).all()
    assert result["output0"][0, 0, 4] == pytest.approx(0.9)


def test_fail_and_fail_item() -> None:
    fail = make("fail?size=64").open_lane()
    assert len(fail.infer([picture()])) == 1  # the warm-up
    with pytest.raises(InferenceError, match="every time"):
        fail.infer([picture()])
    lane = make("fail_item?size=64").open_lane()
    assert len(lane.infer([picture(), picture()])) == 2
    with pytest.raises(InferenceError, match="white in the middle"):
        lane.infer([picture(), picture(1.0)])
    assert len(lane.infer([picture()])) == 1


@pytest.mark.parametrize(
    ("name", "items", "milliseconds"),
    [
        ("sleep?size=64&ms=20", 1, 20),
        ("sleep?size=64&ms=20", 4, 20),
        ("sleep?size=64&ms=20&batch=2", 4, 40),
        ("noop?size=64&ms_per_item=10", 3, 30),
        ("sleep?size=64", 1, 50),
    ],
)
def test_predict_takes_its_time(name: str, items: int, milliseconds: float) -> None:
    lane = make(name).open_lane()
    begin = time.perf_counter()
    assert len(lane.infer([picture()] * items)) == items
    assert time.perf_counter() - begin >= milliseconds / 1000


def test_slowload_loads_slowly_and_runs_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    lane = make("slowload?ms=300&size=64").open_lane()
    assert sum(slept) == 0.3
    lane.infer([picture()])
    assert sum(slept) == 0.3


def test_hang_hangs_until_it_is_closed() -> None:
    model = make("hang?size=64")
    lane = model.open_lane()
    assert len(lane.infer([picture()])) == 1  # the warm-up
    failures: list[InferenceError] = []

    def predict() -> None:
        try:
            lane.infer([picture()])
        except InferenceError as exc:
            failures.append(exc)

    thread = threading.Thread(target=predict, daemon=True)
    thread.start()
    thread.join(0.05)
    assert thread.is_alive()
    model.close()
    thread.join(10)
    assert not thread.is_alive()
    assert len(failures) == 1


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"image": np.zeros((1, 3, 64, 64), np.float32)},
        {"images": np.zeros((1, 3, 64, 32), np.float32)},
        {"images": np.zeros((2, 3, 64, 64), np.float32)},
        {"images": np.zeros((1, 3, 64, 64), np.uint8)},
        {"images": np.zeros((1, 64, 64, 3), np.float32).transpose(0, 3, 1, 2)},
        {**picture(), "more": np.zeros(1)},
    ],
)
def test_a_fake_is_as_strict_as_a_real_runtime(item: TensorMap) -> None:
    with pytest.raises(InferenceError):
        make("noop?size=64").open_lane().infer([item])
