"""The configuration's JSON Schema and reference: valid, current, and no wider than what the parser takes."""

import importlib.util
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from worker.cli.demo import CONFIG as DEMO
from worker.config import (
    Limits,
    MetricsConfig,
    ModelConfig,
    VerifyConfig,
    WorkerConfig,
    parse_model,
    parse_worker,
)
from worker.config_provider import SECTIONS, ProviderConfig, TlsConfig
from worker.config_readers import ConfigError
from worker.config_schema import NOTHING, files, json_schema, keys_of, reference_markdown

ROOT = Path(__file__).resolve().parents[2]
RENEW = "not current: run `python -m worker.config_schema`"

STRUCTS = (WorkerConfig, ModelConfig, Limits, MetricsConfig, VerifyConfig, *SECTIONS.values())
REQUIRED = [(ModelConfig, "path"), (VerifyConfig, "image")]
KEYS = [(struct, info.name) for struct in STRUCTS for info, _ in keys_of(struct)]
VALIDATOR = Draft202012Validator(json_schema())


def table_of(name: str):
    """Return a table of tests/worker/test_config.py, which is no package to import from."""
    spec = importlib.util.spec_from_file_location("config_tables", Path(__file__).with_name("test_config.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def whole_config(struct: type, key: str, value: object) -> dict:
    """Return a configuration in which one key of a struct has a value."""
    if struct is WorkerConfig:
        return {key: value}
    if struct is Limits:
        return {"limits": {key: value}}
    if struct is MetricsConfig:
        return {"metrics": {key: value}}
    if struct is ProviderConfig:
        return {"provider": {key: value}}
    if struct is TlsConfig:
        return {"provider": {"modelcache": {"tls": {key: value}}}}
    if struct in SECTIONS.values():
        name = next(name for name, section in SECTIONS.items() if section is struct)
        return {"provider": {name: {key: value}}}
    if struct is VerifyConfig:
        return {"models": [{"path": "m.onnx", "verify": {"image": "p.jpg", key: value}}]}
    return {"models": [{"path": "m.onnx", key: value}]}


def is_read(config: dict) -> bool:
    """Tell whether the parser takes a configuration with all its models."""
    try:
        parsed, _ = parse_worker(config, 3)
        for index, model in enumerate(parsed.models):
            parse_model(model, f"models[{index}]")
    except ConfigError:
        return False
    return True


def is_json(value: object) -> bool:
    return not (isinstance(value, float) and not math.isfinite(value))


TAKEN = [
    (struct, key, value)
    for struct, name in zip(
        STRUCTS[:4], ("WORKER_VALUES", "MODEL_VALUES", "LIMIT_VALUES", "METRICS_VALUES"), strict=True
    )
    for key, value, _ in table_of(name)
]
STRICTER = [
    (WorkerConfig, "batch_mode", "whatever"),
    (WorkerConfig, "batch_mode", 7),
    (WorkerConfig, "batch_mode", ["list"]),
    (WorkerConfig, "models", [1, {}]),
    (WorkerConfig, "protocol", "three"),
    (WorkerConfig, "max_batch_size", " 8 "),
]
"""What the worker takes for something, or fails a slot alone for, and the schema calls a mistake."""

REFUSED = [
    *[(WorkerConfig, key, value) for key, value in table_of("REFUSED") if is_json(value)],
    *[(ModelConfig, key, value) for key, value in table_of("REFUSED_MODEL") if is_json(value)],
    *[(Limits, info.name, value) for info, _ in keys_of(Limits) for value in (-1, [], "x", {}, True)],
    (Limits, "maxPacketBytes", 63),
    (ModelConfig, "inputSize", [320, 0]),
    (ModelConfig, "inputSize", [320, None]),
    (ModelConfig, "inputSize", 16385),
    (ModelConfig, "labels", {"65536": "x"}),
    *[(VerifyConfig, key, value) for key, value in table_of("REFUSED_VERIFY")],
    *[(*required, value) for required in REQUIRED for value in NOTHING],
    (WorkerConfig, "models", ["m.onnx"]),
    (WorkerConfig, "models", [{}]),
    (WorkerConfig, "concurrency", 0.5),
    (WorkerConfig, "concurrency", "AUTO"),
]


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(("struct", "key", "value"), [row for row in TAKEN if row not in STRICTER])
def test_what_the_parser_takes_the_schema_takes(struct, key, value):
    VALIDATOR.validate(whole_config(struct, key, value))


@pytest.mark.parametrize(("struct", "key", "value"), STRICTER)
def test_where_the_schema_is_stricter(struct, key, value):
    assert not VALIDATOR.is_valid(whole_config(struct, key, value))
    parse_worker(whole_config(struct, key, value), 3)


@pytest.mark.parametrize(("struct", "key", "value"), REFUSED)
def test_what_the_parser_refuses_the_schema_refuses(struct, key, value):
    config = whole_config(struct, key, value)
    assert not is_read(config)
    assert not VALIDATOR.is_valid(config)


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize(("struct", "key"), [row for row in KEYS if row not in REQUIRED])
def test_nothing_means_the_default_of_every_key(struct, key, nothing):
    VALIDATOR.validate(whole_config(struct, key, nothing))


# Without digits: bounds of numbers that are written as strings are the parser's matter.
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # and words that nearly mean something
    | st.text(st.characters(exclude_categories=("Nd", "Nl", "No", "Cs")), max_size=8)
    | st.sampled_from(["auto", "Auto", "reject", "WAIT", "resize", "Letterbox", "none", "nan", "inf", "-1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["0", "7", "x"]), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(KEYS), VALUES)
def test_whatever_the_schema_takes_the_parser_takes(struct_and_key, value):
    config = whole_config(*struct_and_key, value)
    assert is_read(config) or not VALIDATOR.is_valid(config)


def real_configurations() -> list[dict]:
    """Return the configurations of the README, the demo and the golden vectors."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [
        json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    ]
    vectors = json.loads((ROOT / "tests/vectors/requests.json").read_text(encoding="utf-8"))
    bodies = [json.loads(row["message"]["body"]) for row in vectors if row["name"].startswith("handshake")]
    return [DEMO, *bodies, *(block for block in blocks if "models" in block and "cmd" not in block)]


@pytest.mark.parametrize("config", real_configurations())
def test_real_configurations_are_valid(config):
    VALIDATOR.validate(json.loads(json.dumps(config)))
    assert is_read(config)


def test_every_default_is_taken_and_every_key_is_told():
    schema = json_schema()
    properties = {
        WorkerConfig: schema["properties"],
        ModelConfig: schema["$defs"]["model"]["properties"],
        Limits: schema["$defs"]["limits"]["properties"],
        MetricsConfig: schema["$defs"]["metrics"]["properties"],
        VerifyConfig: schema["$defs"]["verify"]["properties"],
        **{struct: schema["$defs"][name]["properties"] for name, struct in SECTIONS.items()},
    }
    for struct, key in KEYS:
        told = properties[struct][key]
        assert told["description"].endswith("."), key
        if "default" in told:
            VALIDATOR.validate(whole_config(struct, key, json.loads(json.dumps(told["default"]))))


def test_every_key_has_its_section():
    sections = re.findall(r"^### `(.+)`$", reference_markdown(), re.MULTILINE)
    assert len(sections) == len(set(sections)) == len(KEYS)


@pytest.mark.parametrize("name", ["configuration.schema.json", "configuration.md"])
def test_the_committed_reference_is_current(name):
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == files()[name], RENEW
