"""Models of a few hundred bytes in three formats, written without the packages that write such files.

Each takes `images` of 8x8 pixels, and its one output is the sum of the channels.

For ONNX the numbers are the fields of onnx.proto: `images` [1, 3, 8, 8] goes through a convolution of
1x1 whose weights are 1. A convolution, because it is what a device's libraries are needed for.
"""

import base64
import io
import struct
import zipfile
from collections.abc import Sequence

SIDE = 8
_FLOAT = 1
_IR_VERSION, _OPSET = 8, 13
_VARINT, _BYTES = 0, 2


def tiny_model() -> bytes:
    """Return an ONNX file's bytes."""
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


_TFLITE = (
    "HAAAAFRGTDMAABIAGAAUABAADAAAAAgAAAAEABIAAAAUAAAAFAAAADwAAABoAQAAAwAAAAAAAAACAAAAJAAAAAwAAAAA"
    "AAYACAAEAAYAAAAEAAAABAAAAAMAAAAEAAQABAAAAAEAAAAQAAAADAAUABAADAAIAAQADAAAABAAAABcAAAAYAAAAGQA"
    "AAABAAAAFAAAAAAADgAWAAAAEAAMAAsABAAOAAAAGAAAAAAAABsYAAAAHAAAAAAABgAIAAcABgAAAAAAAAEBAAAAAgAA"
    "AAIAAAAAAAAAAQAAAAEAAAACAAAAAQAAAAAAAAADAAAAeAAAAEAAAAAEAAAAoP///wgAAAAQAAAABAAAAHN1bXMAAAAA"
    "BAAAAAEAAAAIAAAACAAAAAEAAAAMABQAEAAPAAgABAAMAAAAEAAAAAEAAAAAAAACEAAAAAQAAABheGlzAAAAAAEAAAAB"
    "AAAADAAMAAgAAAAAAAQADAAAAAgAAAAQAAAABgAAAGltYWdlcwAABAAAAAEAAAAIAAAACAAAAAMAAAABAAAAEAAAAAwA"
    "DAALAAAAAAAEAAwAAABKAAAAAAAASg=="
)
"""One operator, SUM over axis 3 of `images` [1, 8, 8, 3], as TFLite's schema of version 3 has it."""

_SCRIPT = {
    "data.pkl": b"\x80\x02c__torch__\nTiny\n)\x81}b.",
    "constants.pkl": b"\x80\x02).",
    "version": b"3\n",
    "extra/config.txt": b'{"imgsz": [8, 8], "channels": 3}',
    "code/__torch__.py": b"""\
class Tiny(Module):
  __parameters__ = []
  __buffers__ = []
  def forward(self: __torch__.Tiny, images: Tensor) -> Tensor:
    return torch.sum(images, [1], True)
""",
}
"""The records of a TorchScript archive: a module without state, and its code."""


def tiny_tflite() -> bytes:
    """Return a TensorFlow Lite file's bytes."""
    return base64.b64decode(_TFLITE)


def tiny_script() -> bytes:
    """Return a TorchScript file's bytes; nothing in it is compressed, as its library wants it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in _SCRIPT.items():
            archive.writestr(f"tiny/{name}", content)
    return file.getvalue()


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
