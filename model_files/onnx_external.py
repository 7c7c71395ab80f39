"""Where an ONNX file keeps its external data, read from its bytes without the library. Pure.

Only messages that can lead to a tensor are gone into, all else is skipped by its length, so a file of
gigabytes that holds its weights itself costs as little as one that does not.
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10

_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1
_KEY, _VALUE = 1, 2

_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Message of onnx.proto → number of a field → message in it, for the ways to a tensor."""


def external_locations(content: memoryview) -> tuple[str, ...]:
    """Return the places of external data as the file names them, in order, each once.

    Args:
        content: all of the file. What is no ONNX file names none: the runtime says what is wrong with it.
    """
    found: dict[str, None] = {}
    pending = [("model", content)]
    while pending:
        kind, message = pending.pop()
        if kind == "tensor":
            location = _location(message)
            if location is not None:
                found[location] = None
            continue
        inside = _INSIDE[kind]
        pending += [
            (inside[number], value)
            for number, value in _fields(message)
            if number in inside and isinstance(value, memoryview)
        ]
    return tuple(sorted(found))


def _location(tensor: memoryview) -> str | None:
    """Return where a tensor's data lies, None where it is in the tensor."""
    pairs, is_external = dict[bytes, bytes](), False
    for number, value in _fields(tensor):
        if number == _DATA_LOCATION:
            is_external = value == _EXTERNAL
        elif number == _EXTERNAL_DATA and isinstance(value, memoryview):
            pair = {key: bytes(text) for key, text in _fields(value) if isinstance(text, memoryview)}
            pairs[pair.get(_KEY, b"")] = pair.get(_VALUE, b"")
    return pairs.get(b"location", b"").decode("utf-8", "replace") if is_external else None


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Yield a message's fields; ends where it is not one."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == _VARINT:
            number, position = _varint(message, position)
            if position <= end:
                yield tag >> 3, number
            continue
        if wire == _BYTES:
            length, position = _varint(message, position)
        elif wire in _FIXED_BYTES:
            length = _FIXED_BYTES[wire]
        else:
            return
        if position + length > end:
            return
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """Return a number and the position behind it; a position beyond the end where it is cut off."""
    number = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number, position + index + 1
    return 0, len(message) + 1
