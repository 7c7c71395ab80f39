"""An ONNX model of some 200 bytes, written by hand, as the package onnx is no requirement.

The numbers are the fields of onnx.proto. `images` [1, 3, 8, 8] goes through a convolution of 1x1
whose weights are 1, so `sums` [1, 1, 8, 8] is the sum of the channels. A convolution, because it is
what a device's libraries are needed for.
"""

import struct
from collections.abc import Sequence

SIDE = 8
_FLOAT = 1
_IR_VERSION, _OPSET = 8, 13
_VARINT, _BYTES = 0, 2


def tiny_model() -> bytes:
    """Return the file's bytes."""
    graph = b"".join(
        (
            _field(1, _node("Conv", ["images", "weights"], ["sums"])),
            _field(2, b"tiny"),
            _field(5, _tensor("weights", (1, 3, 1, 1), [1.0, 1.0, 1.0])),
            _field(11, _value("images", (1, 3, SIDE, SIDE))),
            _field(12, _value("sums", (1, 1, SIDE, SIDE))),
        )
    )
    return _number(1, _IR_VERSION) + _field(7, graph) + _field(8, _number(2, _OPSET))


def _node(kind: str, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    names = [_field(1, name.encode()) for name in inputs] + [_field(2, name.encode()) for name in outputs]
    return b"".join(names) + _field(4, kind.encode())


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    sizes = b"".join(_number(1, size) for size in shape)
    data = struct.pack(f"<{len(values)}f", *values)
    return sizes + _number(2, _FLOAT) + _field(8, name.encode()) + _field(9, data)


def _value(name: str, shape: Sequence[int]) -> bytes:
    axes = b"".join(_field(1, _number(1, size)) for size in shape)
    return _field(1, name.encode()) + _field(2, _field(1, _number(1, _FLOAT) + _field(2, axes)))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _field(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit says that more come."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
