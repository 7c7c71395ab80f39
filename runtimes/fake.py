"""Doubles for tests and benches: models by name, `fake:NAME?key=value&…`, that need no library.

All take one picture and answer in the end-to-end layout of YOLOv10: `output0`, 300 rows of
x1 y1 x2 y2 score class. Names are in `FAKES`, options in `runtimes.fake_options`.
"""

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.errors import InferenceError, ModelLoadError
from runtimes.fake_options import FakeOptions, parse_fake_uri
from runtimes.metadata import read_metadata
from runtimes.options import RuntimeOptions
from runtimes.picture_ids import read_id
from runtimes.spec import (
    DYNAMIC,
    DeviceReport,
    Layout,
    ModelMetadata,
    TensorKind,
    TensorMap,
    TensorSpec,
)

INPUT = "images"
OUTPUT = "output0"
ROWS = 300
_ROW = 6
_SHAPE = (1, ROWS, _ROW)
_DAY_S = 86_400.0

Rows = NDArray[np.float32]
"""(1, 300, 6) float32: x1 y1 x2 y2 score class, in pixels of the tensor."""

Answer = Callable[[NDArray[Any]], Rows]
"""What one fake answers to one picture, (1, C, H, W) or (1, H, W, C)."""


@dataclass(frozen=True, slots=True)
class Fake:
    """How one fake model behaves."""

    answer: Callable[[FakeOptions, threading.Event], Answer]
    """Makes the answering function; the event is set when the model is closed."""
    load: Callable[[FakeOptions], None] = lambda _: None
    """Takes its time, or fails."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from the common defaults."""
    paced: bool = True
    """Whether `ms` is the time of a predict call."""


class FakeRuntime:
    """Compiles `fake:` references."""

    def compile(self, model: ModelFiles, options: RuntimeOptions) -> CompiledModel:
        """Make the double that `model.uri` names; see `runtimes.base.Runtime.compile`."""
        name, values = parse_fake_uri(model.uri)
        fake = FAKES.get(name)
        if fake is None:
            raise ModelLoadError(f"unknown fake model {name!r}: expected one of {', '.join(FAKES)}")
        settings = FakeOptions(**{**fake.defaults, **values})
        time.sleep(settings.load_ms / 1000)
        fake.load(settings)
        return FakeModel(fake, settings, options.device)


class FakeModel:
    """A double of a compiled model."""

    def __init__(self, fake: Fake, options: FakeOptions, device: str) -> None:
        self._options = options
        self._closed = threading.Event()
        self._answer = fake.answer(options, self._closed)
        self._paced = fake.paced
        self._weights: NDArray[np.uint8] | None = np.ones(options.mb << 20, np.uint8)
        self.inputs: tuple[TensorSpec, ...] = (_input_spec(options),)
        self.outputs: tuple[TensorSpec, ...] = (
            TensorSpec(OUTPUT, (_batch_axis(options), ROWS, _ROW), "float32"),
        )
        self.metadata: ModelMetadata = read_metadata(_properties(options))
        self.device = DeviceReport(
            asked=device or "fake",
            effective="fake",
            fallback_reason="a fake model runs on no device" if device else None,
        )

    @property
    def max_batch_size(self) -> int:
        """As the path says."""
        return self._options.batch

    def open_lane(self) -> Lane:
        """Return a lane."""
        return FakeLane(self.inputs[0], self._answer, self._pause, self._options.batch)

    def close(self) -> None:
        """Wake what hangs, and let the memory go."""
        self._closed.set()
        self._weights = None

    def _pause(self, items: int) -> None:
        milliseconds = self._options.ms + self._options.ms_per_item * items
        if self._paced and milliseconds:
            time.sleep(milliseconds / 1000)  # releases the interpreter lock, as a native call does


class FakeLane:
    """A double of a lane."""

    def __init__(
        self, spec: TensorSpec, answer: Answer, pause: Callable[[int], None], max_batch_size: int
    ) -> None:
        self._shape = (1, *spec.shape[1:])
        self._dtype = np.dtype(spec.dtype)
        self._answer = answer
        self._pause = pause
        self._max_batch_size = max_batch_size

    def infer(self, batch: Sequence[TensorMap]) -> list[TensorMap]:
        """Answer each item; as strict about names, shapes and types as a real runtime."""
        results: list[TensorMap] = []
        for start in range(0, len(batch), self._max_batch_size):
            chunk = [self._checked(item) for item in batch[start : start + self._max_batch_size]]
            self._pause(len(chunk))
            results += [{OUTPUT: self._answer(tensor)} for tensor in chunk]
        return results

    def _checked(self, item: TensorMap) -> NDArray[Any]:
        tensor = item.get(INPUT)
        if tensor is None or len(item) != 1:
            raise InferenceError(f"expected the input {INPUT}, got {', '.join(item) or 'none'}")
        if tensor.shape != self._shape or tensor.dtype != self._dtype:
            raise InferenceError(
                f"{INPUT} is {tensor.dtype}{list(tensor.shape)}, expected {self._dtype}{list(self._shape)}"
            )
        if not tensor.flags.c_contiguous:
            raise InferenceError(f"{INPUT} is not C-contiguous: a real runtime would copy it")
        return tensor


def _batch_axis(options: FakeOptions) -> int:
    return 1 if options.batch == 1 else DYNAMIC


def _input_spec(options: FakeOptions) -> TensorSpec:
    shapes = {
        Layout.NCHW: (options.channels, options.height, options.width),
        Layout.NHWC: (options.height, options.width, options.channels),
    }
    shape = (_batch_axis(options), *shapes[options.layout])
    return TensorSpec(INPUT, shape, options.dtype, TensorKind.IMAGE, options.layout)


def _properties(options: FakeOptions) -> dict[str, str]:
    """Return the pairs that an exporter would have written."""
    properties = {
        "task": "detect",
        "end2end": "True",
        "stride": "32",
        "imgsz": f"[{options.height}, {options.width}]",
    }
    if options.labels:
        properties["names"] = repr(dict(enumerate(options.labels)))
    return properties


def _constant(rows: Rows) -> Answer:
    rows.flags.writeable = False  # shared by every answer: who writes into it must fail
    return lambda _: rows


def _first_plane(tensor: NDArray[Any], options: FakeOptions) -> NDArray[Any]:
    return tensor[0, 0] if options.layout is Layout.NCHW else tensor[0, :, :, 0]


def _nothing(_options: FakeOptions, _closed: threading.Event) -> Answer:
    return _constant(np.zeros(_SHAPE, np.float32))


def _nan(_options: FakeOptions, _closed: threading.Event) -> Answer:
    rows = np.full(_SHAPE, np.nan, np.float32)
    rows[0, 0, 4:] = 0.9, 0.0  # one row that a filter by score lets through
    return _constant(rows)


def _echo(options: FakeOptions, _closed: threading.Event) -> Answer:
    def answer(tensor: NDArray[Any]) -> Rows:
        rows = np.zeros(_SHAPE, np.float32)
        found = read_id(_first_plane(tensor, options))
        if found is not None:
            picture_id, box = found
            rows[0, 0] = *box, 1.0, picture_id
        return rows

    return answer


def _after_warm_up(options: FakeOptions, closed: threading.Event, then: Callable[[], None]) -> Answer:
    """Answer the first call, which is the warm-up: else the model could not be loaded."""
    nothing = _nothing(options, closed)
    calls = itertools.count()

    def answer(tensor: NDArray[Any]) -> Rows:
        if next(calls):
            then()
        return nothing(tensor)

    return answer


def _fail(options: FakeOptions, closed: threading.Event) -> Answer:
    def fail() -> None:
        raise InferenceError("fake:fail fails every time")

    return _after_warm_up(options, closed, fail)


def _fail_always(_options: FakeOptions, _closed: threading.Event) -> Answer:
    def fail(_tensor: NDArray[Any]) -> Rows:
        raise InferenceError("fake:warmfail fails every time")

    return fail


def _fail_item(options: FakeOptions, closed: threading.Event) -> Answer:
    nothing = _nothing(options, closed)
    white = 250 if options.dtype == "uint8" else 250 / 255

    def answer(tensor: NDArray[Any]) -> Rows:
        plane = _first_plane(tensor, options)
        if plane[options.height // 2, options.width // 2] >= white:
            raise InferenceError("fake:fail_item fails for a picture that is white in the middle")
        return nothing(tensor)

    return answer


def _hang(options: FakeOptions, closed: threading.Event) -> Answer:
    def hang() -> None:
        closed.wait(_DAY_S)
        raise InferenceError("fake:hang was closed")

    return _after_warm_up(options, closed, hang)


def _load_slowly(options: FakeOptions) -> None:
    time.sleep(options.ms / 1000)


def _load_fails(_options: FakeOptions) -> None:
    raise ModelLoadError("fake:loadfail never loads")


FAKES: dict[str, Fake] = {
    "noop": Fake(_nothing),
    "echo": Fake(_echo),
    "nan": Fake(_nan),
    "fail": Fake(_fail),
    "fail_item": Fake(_fail_item),
    "warmfail": Fake(_fail_always),
    "sleep": Fake(_nothing, defaults={"ms": 50.0}),
    "hang": Fake(_hang),
    "slowload": Fake(_nothing, load=_load_slowly, defaults={"ms": 500.0}, paced=False),
    "loadfail": Fake(_nothing, load=_load_fails),
}
"""By name: `noop` finds nothing. `echo` finds one object that covers the picture, with the number that
the picture carries (`runtimes.picture_ids`) as its class and a score of 1. `nan` answers NaN. `fail`
fails every call but the first, `warmfail` that too, `fail_item` those with a picture that is white in the
middle. `sleep` is `noop` that takes 50 ms. `hang` answers the first call, and returns from others when
the model is closed. `slowload` takes 500 ms to load, `loadfail` fails to."""
