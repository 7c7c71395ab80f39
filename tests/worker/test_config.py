"""The configuration's border: what each value becomes, what is refused, what is warned about."""

import dataclasses

import pytest

from preprocess.options import ResizeMode
from worker.config import (
    BatchMode,
    Limits,
    MetricsConfig,
    ModelConfig,
    Overload,
    WorkerConfig,
    parse_model,
    parse_worker,
)
from worker.config_readers import ConfigError
from worker.config_verify import Expectation, VerifyConfig

# key, value as it comes, what it becomes
WORKER_VALUES = [
    ("runtime", "openvino", "openvino"),
    ("concurrency", 2, 2),
    ("concurrency", "2", 2),
    ("concurrency", "2.0", 2),
    ("concurrency", 2.7, 2),
    ("concurrency", "auto", None),
    ("batch_mode", "window", BatchMode.WINDOW),
    ("batch_mode", "adaptive", BatchMode.ADAPTIVE),
    ("batch_mode", "whatever", BatchMode.NONE),
    ("batch_mode", 7, BatchMode.NONE),
    ("batch_mode", ["list"], BatchMode.NONE),
    ("window_ms", "2.5", 2.5),
    ("window_ms", 60_000, 60_000),
    ("max_batch_size", 8.0, 8),
    ("models", [], ()),
    ("models", [1, {}], (1, {})),
    ("parentPid", "77", 77),
]
MODEL_VALUES = [
    ("inputSize", 320, (320, 320)),
    ("inputSize", "320", (320, 320)),
    ("inputSize", [320, "240"], (320, 240)),
    ("preprocessMode", "resize", ResizeMode.RESIZE),
    ("preprocessMode", "LETTERBOX", ResizeMode.LETTERBOX),
    ("postprocessor", "raw", "raw"),
    ("confidence", "0.5", 0.5),
    ("confidence", 1, 1.0),
    ("device", "AUTO", "AUTO"),
    ("runtime", "fake", "fake"),
    ("sha256", "ab", "ab"),
    ("labels", ["a", "b"], ("a", "b")),
    ("labels", {"1": "b", "0": "a"}, ("a", "b")),
    ("labels", {"2": "c"}, ("0", "1", "c")),
    ("intraThreads", "4", 4),
    ("spinning", True, True),
    ("spinning", False, False),
    ("performanceHint", "latency", "latency"),
    ("performanceHint", "Throughput", "throughput"),
    ("streams", "2", 2),
    ("cacheDir", "/var/cache", "/var/cache"),
    ("half", True, True),
    ("half", False, False),
    ("idleUnloadMs", 60_000, 60_000),
    ("pinned", True, True),
    ("maxMemoryBytes", "1e9", 1_000_000_000),
    ("verify", {"image": "p.jpg"}, VerifyConfig("p.jpg")),
    (
        "verify",
        {
            "image": "p.jpg",
            "expect": [
                {"className": "person", "bbox": [1, 2.5, 30, 40], "score": 0.9},
                {"classId": 0, "bbox": [0, 0, 10, 10]},
            ],
            "iou": 0.5,
            "scoreTolerance": "0.2",
        },
        VerifyConfig(
            "p.jpg",
            (
                Expectation((1.0, 2.5, 30.0, 40.0), class_name="person", score=0.9),
                Expectation((0.0, 0.0, 10.0, 10.0), class_id=0),
            ),
            0.5,
            0.2,
        ),
    ),
]
LIMIT_VALUES = [
    ("maxPacketBytes", "1e6", 1_000_000),
    ("maxInFlight", 1, 1),
    ("maxInFlightBytes", 10, 10),
    ("maxPixels", 4.0, 4),
    ("frameCacheBytes", 1, 1),
    ("modelMemoryBytes", "2e9", 2_000_000_000),
    ("overload", "reject", Overload.REJECT),
    ("overload", "WAIT", Overload.WAIT),
    ("drainTimeoutMs", 1, 1),
]
METRICS_VALUES = [
    ("port", 9100, 9100),
    ("port", "9100", 9100),
]
REFUSED = [
    ("concurrency", -1),
    ("concurrency", "x"),
    ("concurrency", "2.5x"),
    ("concurrency", float("nan")),
    ("concurrency", float("inf")),
    ("concurrency", {}),
    ("concurrency", True),
    ("window_ms", -1),
    ("window_ms", 60_001),
    ("window_ms", float("nan")),
    ("max_batch_size", -2),
    ("models", {}),
    ("runtime", []),
    ("limits", []),
]
REFUSED_MODEL = [
    ("path", 5),
    ("path", ["m"]),
    ("inputSize", -1),
    ("inputSize", [1, 2, 3]),
    ("inputSize", "big"),
    ("inputSize", 100_000),
    ("preprocessMode", "crop"),
    ("confidence", 1.01),
    ("confidence", -0.1),
    ("confidence", float("nan")),
    ("confidence", True),
    ("labels", "person"),
    ("labels", [1]),
    ("labels", {"x": "person"}),
    ("labels", {"-1": "person"}),
    ("labels", {"99999999999": "person"}),
    ("labels", {"0": 5}),
    ("spinning", "yes"),
    ("device", 5),
    ("performanceHint", "fast"),
    ("streams", -1),
    ("cacheDir", 5),
    ("half", "yes"),
    ("idleUnloadMs", -1),
    ("pinned", "yes"),
    ("maxMemoryBytes", "much"),
    ("verify", "p.jpg"),
]
REFUSED_VERIFY = [
    ("image", None),
    ("image", 5),
    ("expect", {}),
    ("expect", ["person"]),
    ("expect", [{"bbox": [1, 2, 3, 4]}]),
    ("expect", [{"className": "person"}]),
    ("expect", [{"className": "person", "bbox": [1, 2, 3]}]),
    ("expect", [{"className": "person", "bbox": [1, 2, 3, 4], "score": 2}]),
    ("expect", [{"classId": -1, "bbox": [1, 2, 3, 4]}]),
    ("expect", [{"classId": 1, "bbox": [1, 2, 3, 4], "confidence": 0.5}]),
    ("iou", 1.5),
    ("scoreTolerance", -0.1),
]
NOTHING = [None, 0, 0.0, "", "0"]


def worker_of(raw: dict) -> WorkerConfig:
    config, warnings = parse_worker(raw, 3)
    assert warnings == []
    return config


def model_of(raw: dict) -> ModelConfig:
    config, unknown = parse_model({"path": "m.onnx", **raw}, "models[0]")
    assert not unknown
    return config


def field_of(kind: type, key: str) -> str:
    return next(entry.name for entry in dataclasses.fields(kind) if entry.metadata.get("key") == key)


@pytest.mark.parametrize(("key", "value", "expected"), WORKER_VALUES)
def test_worker_values(key, value, expected):
    assert getattr(worker_of({key: value}), field_of(WorkerConfig, key)) == expected


@pytest.mark.parametrize(("key", "value", "expected"), MODEL_VALUES)
def test_model_values(key, value, expected):
    assert getattr(model_of({key: value}), field_of(ModelConfig, key)) == expected


@pytest.mark.parametrize(("key", "value", "expected"), LIMIT_VALUES)
def test_limit_values(key, value, expected):
    limits = worker_of({"limits": {key: value}}).limits
    assert getattr(limits, field_of(Limits, key)) == expected
    assert limits.as_wire()[key] == expected


@pytest.mark.parametrize(("key", "value", "expected"), METRICS_VALUES)
def test_metrics_values(key, value, expected):
    assert getattr(worker_of({"metrics": {key: value}}).metrics, field_of(MetricsConfig, key)) == expected


@pytest.mark.parametrize("nothing", NOTHING)
def test_nothing_means_the_default_of_every_key(nothing):
    default, model = worker_of({}), model_of({})
    for key in [entry.metadata["key"] for entry in dataclasses.fields(WorkerConfig)]:
        if key != "protocol":
            assert worker_of({key: nothing}) == default
    for key in [entry.metadata["key"] for entry in dataclasses.fields(Limits)]:
        assert worker_of({"limits": {key: nothing}}) == default
    for key in [entry.metadata["key"] for entry in dataclasses.fields(ModelConfig) if entry.metadata]:
        if key not in ("path", "spinning"):
            assert model_of({key: nothing}) == model


def test_the_defaults_are_those_of_the_protocol():
    config = worker_of({})
    assert (config.runtime, config.concurrency, config.batch_mode) == ("coreml", 1, BatchMode.NONE)
    assert (config.window_ms, config.models, config.parent_pid) == (0, (), None)
    limits = config.limits
    assert (limits.max_packet_bytes, limits.max_in_flight, limits.max_in_flight_bytes) == (
        1 << 28,
        256,
        1 << 30,
    )
    assert (limits.max_pixels, limits.overload, limits.drain_timeout_ms) == (1 << 26, Overload.WAIT, 10_000)
    assert limits.frame_cache_bytes > 1 << 20
    model = model_of({})
    assert (model.preprocess_mode, model.postprocessor, model.confidence) == (
        ResizeMode.LETTERBOX,
        "yolo",
        0.25,
    )


@pytest.mark.parametrize(("key", "value"), REFUSED)
def test_refused_worker_values_are_named_with_what_was_expected(key, value):
    with pytest.raises(ConfigError, match=rf"^{key}: expected .+, got "):
        parse_worker({key: value}, 3)


@pytest.mark.parametrize(("key", "value"), REFUSED_MODEL)
def test_refused_model_values_are_named_with_what_was_expected(key, value):
    with pytest.raises(ConfigError, match=rf"^models\[0\]\.{key}: expected .+, got "):
        parse_model({"path": "m.onnx", key: value}, "models[0]")


@pytest.mark.parametrize(("key", "value"), REFUSED_VERIFY)
def test_refused_values_of_a_proof_are_named_with_what_was_expected(key, value):
    raw = {"path": "m.onnx", "verify": {"image": "p.jpg", key: value}}
    with pytest.raises(ConfigError, match=rf"^models\[0\]\.verify\.{key}: expected .+, got "):
        parse_model(raw, "models[0]")


@pytest.mark.parametrize("key", [entry.metadata["key"] for entry in dataclasses.fields(Limits)])
@pytest.mark.parametrize("value", [-1, [], "x", {}])
def test_refused_limits_are_named_with_their_path(key, value):
    with pytest.raises(ConfigError, match=rf"^limits\.{key}: expected "):
        parse_worker({"limits": {key: value}}, 3)


@pytest.mark.parametrize("raw", [None, 5, "m.onnx", [], {}, {"path": ""}, {"path": None}])
def test_a_model_is_an_object_with_a_path(raw):
    with pytest.raises(ConfigError, match=r"^config"):
        parse_model(raw, "config")


def test_what_is_shown_of_a_value_is_short():
    with pytest.raises(ConfigError) as caught:
        parse_worker({"concurrency": "x" * 10_000}, 3)
    assert len(str(caught.value)) < 200


def test_unknown_keys_of_a_proof_are_reported_and_are_no_postprocessors_matter():
    config, unknown = parse_model({"path": "m", "verify": {"image": "p", "tolerance": 1}}, "config")
    assert "config.verify.tolerance" in unknown["verify.tolerance"]
    assert config.extra == {}


def test_unknown_keys_are_reported_with_the_nearest_known_one():
    _, warnings = parse_worker({"batchmode": 1, "qqqqqq": 2, "limits": {"maxpixel": 3}}, 3)
    assert len(warnings) == 3
    assert "batch_mode" in warnings[0]
    assert "did you mean" not in warnings[1]
    assert "limits.maxpixel" in warnings[2]
    assert "maxPixels" in warnings[2]
