"""The golden bytes in both directions: decoding gives the message, encoding gives the bytes."""

import json
from pathlib import Path
from typing import Any

import pytest

from protocol import errors
from protocol.commands import COMMANDS, UnknownCommand, encode_command, parse_command
from protocol.framing import ResponseDecoder, encode_response
from protocol.messages import MESSAGE_TYPES, STREAM_TYPES, Command, MessageType
from protocol.options import NO_OPTIONS, OPTION_NAMES, RequestOptions, parse_options
from protocol.packet import RejectedPacket, Verdict
from protocol.picture import Picture, SharedPicture
from protocol.pixel_format import PixelFormat

VECTORS = Path(__file__).parents[1] / "vectors"


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


def rows(name: str) -> Any:
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in load(name)])


def options_of(fields: dict[str, Any]) -> RequestOptions:
    return parse_options(json.dumps(fields).encode()) if fields else NO_OPTIONS


def picture_of(fields: dict[str, Any]) -> Picture | SharedPicture:
    size_and_format = fields["width"], fields["height"], PixelFormat(fields["format"])
    if "size" in fields:
        return SharedPicture(*size_and_format, fields["size"])
    return Picture(*size_and_format, memoryview(bytes.fromhex(fields["data"])))


BUILDERS = {
    "body": str.encode,
    "data": lambda text: memoryview(bytes.fromhex(text)),
    "picture": picture_of,
    "pictures": lambda pictures: tuple(map(picture_of, pictures)),
    "options": options_of,
}
"""Keys of a row's message that are not plain numbers."""


def message_of(row: dict[str, Any]) -> Any:
    fields = dict(row["message"])
    message_class = MESSAGE_TYPES[MessageType[fields.pop("type")]]
    return message_class(**{key: BUILDERS.get(key, int)(value) for key, value in fields.items()})


@rows("requests.json")
def test_parsing_the_bytes_yields_the_message(row, decode):
    for strict in [row["strict"]] if "strict" in row else [False, True]:
        assert decode(bytes.fromhex(row["hex"]), strict=strict) == [message_of(row)]


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["name"]) for row in load("requests.json") if row.get("encodes", True)]
)
def test_serializing_the_message_yields_the_bytes(row):
    assert message_of(row).encode().hex() == row["hex"]


@pytest.mark.parametrize(
    "row", [pytest.param(row, id=row["name"]) for row in load("requests.json") if "command" in row]
)
def test_commands_both_ways(row):
    command = parse_command(message_of(row).body)
    assert json.loads(encode_command(command)) == row["command"]
    assert isinstance(command, COMMANDS.get(row["command"]["cmd"], UnknownCommand))


@rows("rejected.json")
def test_rejected(row, decode):
    admitted = row.get("admit", True)
    settings = {"max_packet_bytes": row["max_packet_bytes"]} if "max_packet_bytes" in row else {}
    verdict = Verdict.ADMIT if admitted else Verdict.SKIP
    expected = RejectedPacket(**row["rejected"], admitted=admitted and not settings)
    for strict in [row["strict"]] if "strict" in row else [False, True]:
        assert decode(bytes.fromhex(row["hex"]), strict=strict, verdict=verdict, **settings) == [expected]


@rows("reserved.json")
def test_what_this_worker_does_not_take_yet_is_an_unknown_type(row, decode):
    (rejected,) = decode(bytes.fromhex(row["hex"]))
    assert rejected.code is errors.ErrorCode.UNKNOWN_TYPE
    assert rejected.request_id == row["message"]["request_id"]


@rows("framing_lost.json")
def test_framing_lost(row, decode):
    assert decode(bytes.fromhex(row["hex"])) == ["framing lost"]


@rows("responses.json")
def test_responses_both_ways(row):
    packet = bytes.fromhex(row["hex"])
    decoder = ResponseDecoder()
    decoder.feed(packet)
    assert list(decoder) == [(row["request_id"], row["body"].encode())]
    assert encode_response(row["request_id"], row["body"].encode()) == packet
    json.loads(row["body"])


def covered(name: str) -> set[str]:
    """Message types of the file, with a + for those with options."""
    messages = [row["message"] for row in load(name)]
    return {message["type"] + ("+" if message.get("options") else "") for message in messages}


def test_each_message_type_has_a_vector_with_and_without_options():
    names = {message_class.TYPE.name for message_class in MESSAGE_TYPES.values()}
    without = {Command.TYPE, *STREAM_TYPES}
    with_options = {f"{name}+" for name in names if MessageType[name] not in without}
    assert covered("requests.json") == names | with_options


def test_each_command_has_a_vector():
    seen = {row["command"]["cmd"] for row in load("requests.json") if "command" in row}
    assert set(COMMANDS) <= seen


def test_each_pixel_format_has_a_vector():
    pictures = [row["message"]["picture"] for row in load("requests.json") if "picture" in row["message"]]
    assert {picture["format"] for picture in pictures} == set(PixelFormat)


def test_each_option_has_a_vector():
    messages = [row["message"] for row in load("requests.json")]
    assert {name for message in messages for name in message.get("options", ())} == set(OPTION_NAMES)


TEXTS = [
    errors.EMPTY_JPEG,
    errors.RAW_WRAP_PREFIX,
    errors.CACHE_WRAP_PREFIX,
    *(
        errors.TRUNCATED_HEADER.format(kind)
        for kind in ("infer_raw", "infer_batch", "cache_frame", "infer_cached", "infer_shared")
    ),
    errors.TRUNCATED_BATCH_ITEM_HEADER,
    errors.TRUNCATED_BATCH_ITEM_PAYLOAD,
    errors.UNKNOWN_TYPE.format(""),
]


@pytest.mark.parametrize("text", TEXTS)
def test_each_error_row_has_a_vector(text):
    assert any(row["rejected"]["error"].startswith(text) for row in load("rejected.json"))


@pytest.mark.parametrize("name", ["requests.json", "rejected.json", "framing_lost.json", "responses.json"])
def test_names_are_unique(name):
    names = [row["name"] for row in load(name)]
    assert len(names) == len(set(names))
