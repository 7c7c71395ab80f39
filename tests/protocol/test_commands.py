"""Commands: what is taken leniently, and what is refused."""

import json

import pytest

from protocol.commands import (
    COMMANDS,
    MAX_WARMUP_RUNS,
    Cancel,
    Drain,
    Load,
    Metrics,
    Ping,
    RegionAttach,
    RegionDetach,
    Replace,
    Status,
    StreamClose,
    StreamOpen,
    UncacheFrame,
    UnknownCommand,
    Unload,
    Warmup,
    encode_command,
    parse_command,
)
from protocol.errors import ErrorCode, WireError
from protocol.json_values import lenient_int, nearest, shown

SAMPLES = [
    Load(0, {"path": "m.onnx", "labels": ["a"]}),
    Replace(255, {}),
    Unload(7),
    Status(),
    UncacheFrame(2**32 - 1),
    Ping(),
    Drain(),
    Cancel(2**32 - 1),
    Warmup(3, 20),
    Metrics("prometheus"),
    RegionAttach(7, "/dev/shm/frames", 2**63 - 1, trusted=True),
    RegionDetach(7),
    StreamOpen(7, {"type": "push"}, (0, 255), {"everyNth": 2}),
    StreamClose(7),
]


@pytest.mark.parametrize("command", SAMPLES, ids=lambda command: type(command).__name__)
def test_round_trip(command):
    assert parse_command(encode_command(command)) == command


def test_every_command_is_tested():
    assert [type(sample) for sample in SAMPLES] == list(COMMANDS.values())
    names = "load replace unload status uncache_frame ping drain"
    later = "cancel warmup metrics region_attach region_detach stream_open stream_close"
    assert list(COMMANDS) == f"{names} {later}".split()


def parse(name: str, **fields: object) -> object:
    return parse_command(json.dumps({"cmd": name, **fields}).encode())


@pytest.mark.parametrize(
    ("value", "index"),
    [(3, 3), (3.0, 3), (3.9, 3), ("3", 3), ("3.0", 3), (" 3 ", 3), (-0.5, 0), ("255", 255), (0, 0)],
)
def test_numbers_go_through_int(value, index):
    assert parse_command(json.dumps({"cmd": "unload", "index": value}).encode()) == Unload(index)


@pytest.mark.parametrize("value", [-1, 256, 1e300, 10**30, "x", "3.5", "", None, True, [], {}, "9" * 5_000])
def test_an_unusable_index(value):
    with pytest.raises(WireError, match=r'^unload: "index": ') as caught:
        parse_command(json.dumps({"cmd": "unload", "index": value}).encode())
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert len(caught.value.text) < 200


@pytest.mark.parametrize("value", [-1, 2**32, "x", None, False])
def test_an_unusable_frame_id(value):
    with pytest.raises(WireError, match=r'^uncache_frame: "frameId": '):
        parse_command(json.dumps({"cmd": "uncache_frame", "frameId": value}).encode())


@pytest.mark.parametrize("value", [None, [], "m.onnx", 1])
def test_an_unusable_config(value):
    with pytest.raises(WireError, match=r'^load: "config": must be an object'):
        parse_command(json.dumps({"cmd": "load", "index": 1, "config": value}).encode())


MISSING = [
    ("load", "config"),
    ("load", "index"),
    ("replace", "index"),
    ("unload", "index"),
    ("uncache_frame", "frameId"),
    ("cancel", "requestId"),
    ("warmup", "index"),
    ("region_attach", "regionId"),
    ("region_attach", "path"),
    ("region_attach", "size"),
    ("region_detach", "regionId"),
]


@pytest.mark.parametrize(("name", "field"), MISSING)
def test_missing_fields(name, field):
    fields = {"cmd": name, "index": 1, "config": {}, "frameId": 1, "requestId": 1}
    fields |= {"regionId": 1, "path": "/dev/shm/frames", "size": 1}
    del fields[field]
    with pytest.raises(WireError, match=rf'^{name}: "{field}" is missing$'):
        parse_command(json.dumps(fields).encode())


@pytest.mark.parametrize("name", ["stream_pause", "LOAD", "", "load ", "regionAttach"])
def test_unknown_commands_keep_their_name(name):
    command = parse_command(json.dumps({"cmd": name, "index": "nonsense"}).encode())
    assert command == UnknownCommand(name)
    assert parse_command(encode_command(command)) == command


OPTIONAL = [
    ("warmup", {"index": 1}, "runs", Warmup(1, 1)),
    ("metrics", {}, "format", Metrics("json")),
    (
        "region_attach",
        {"regionId": 1, "path": "x", "size": 9},
        "trusted",
        RegionAttach(1, "x", 9, trusted=False),
    ),
]


@pytest.mark.parametrize(("name", "fields", "optional", "expected"), OPTIONAL)
def test_optional_fields_may_be_absent_or_null(name, fields, optional, expected):
    assert parse(name, **fields) == expected
    assert parse(name, **fields, **{optional: None}) == expected


UNUSABLE = [
    ("cancel", "requestId", [-1, 2**32, "x", None, True]),
    ("warmup", "runs", [0, -1, MAX_WARMUP_RUNS + 1, "x", True, []]),
    ("warmup", "index", [-1, 256, None]),
    ("metrics", "format", ["xml", "JSON", "", 1, False, [], {}]),
    ("region_attach", "regionId", [-1, 2**32, None]),
    ("region_attach", "path", ["", "a\0b", "\0", None, 1, ["x"]]),
    ("region_attach", "size", [0, -1, 2**63, 1e30, None, True]),
    ("region_attach", "trusted", [0, 1, "true", []]),
    ("region_detach", "regionId", [-1, 2**32, None]),
]


@pytest.mark.parametrize(
    ("name", "field", "value"), [(name, field, value) for name, field, values in UNUSABLE for value in values]
)
def test_an_unusable_field_is_named(name, field, value):
    fields = {"index": 1, "regionId": 1, "path": "/dev/shm/frames", "size": 1, field: value}
    with pytest.raises(WireError, match=rf'^{name}: "{field}": ') as caught:
        parse(name, **fields)
    assert caught.value.code is ErrorCode.BAD_REQUEST
    assert caught.value.text.isprintable()
    assert len(caught.value.text) < 200


def test_the_ends_of_the_ranges_are_taken():
    assert parse("warmup", index=255, runs=MAX_WARMUP_RUNS) == Warmup(255, 1_000)
    assert parse("region_attach", regionId=0, path="/", size=1.0) == RegionAttach(0, "/", 1)
    assert parse("cancel", requestId="0") == Cancel(0)


NO_COMMANDS = {
    b"": "^command: ",
    b"{": "^command: ",
    b"[]": "^command: Expected `object`, got `array`$",
    b"\xff": "^command: ",
    b'{"x":"\xff"}': "^command: not UTF-8$",
    b'{"x":' + b"[" * 100_000: "^command: JSON is nested too deeply$",
    b"{}": '^command: "cmd" is missing$',
    b'{"cmd":null}': '^command: "cmd" must be a string$',
    b'{"cmd":1}': '^command: "cmd" must be a string$',
}


@pytest.mark.parametrize(("body", "text"), NO_COMMANDS.items(), ids=range(len(NO_COMMANDS)))
def test_what_is_no_command(body, text):
    with pytest.raises(WireError, match=text) as caught:
        parse_command(body)
    assert caught.value.code is ErrorCode.BAD_REQUEST


def test_unknown_keys_are_ignored():
    assert parse_command(b'{"cmd":"ping","runs":3,"x":[null]}') == Ping()


@pytest.mark.parametrize("value", [float("inf"), float("nan"), object(), b"1"])
def test_numbers_that_json_cannot_hold(value):
    with pytest.raises(ValueError, match=r"^expected a number, got "):
        lenient_int(value)


def test_values_are_shown_shortened():
    assert shown("é\n") == '"é\\n"'
    assert len(shown("x" * 1_000)) == 65


def test_the_nearest_name_of_a_long_one_is_found_fast():
    assert nearest("x" * 1_000_000, ["iou"]) == ""
    assert nearest("iuo", ["iou"]) == ' (did you mean "iou"?)'


def test_a_stream_goes_through_the_first_model_where_none_is_named():
    assert parse("stream_open", streamId=1, source={"type": "push"}) == StreamOpen(
        1, {"type": "push"}, (0,), None
    )


@pytest.mark.parametrize("models", [[], [0] * 17, [256], [-1], "0", 0, ["x"], {}])
def test_unusable_models_of_a_stream(models):
    with pytest.raises(WireError, match=r'^stream_open: "models"') as caught:
        parse("stream_open", streamId=1, source={}, models=models)
    assert caught.value.code is ErrorCode.BAD_REQUEST
