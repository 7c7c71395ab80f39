"""Reads tables of a FlatBuffers file, and never beyond its end.

The format (flatbuffers.dev, "FlatBuffer Internals"): a table begins with the distance back to its
vtable, which holds its own size, the table's, and where in the table each field lies, 0 for none.
Strings, vectors and tables are fields that hold the distance ahead to them. A vector begins with
its length. All is little-endian and aligned to its own size.

Custom operators keep their settings in the sister format FlexBuffers, which is read from its end.
"""

import struct
from typing import Any

MAX_TABLES = 1_000_000
"""Tables in one vector; FlatBuffers' own verifier has the same limit for a file."""


_UNSIGNED = {1: "B", 2: "H", 4: "I", 8: "Q"}
_FLEX_MAP = 9
_FLEX_INLINE = frozenset({0, 1, 2, 3, 26})
"""Null, integers, float, bool: in the map itself."""
_FLEX_INDIRECT = frozenset({6, 7, 8})
"""Integers and float that the map holds the distance back to."""


class FlatbufferError(ValueError):
    """What was asked for does not lie within the file, or is no such thing."""


class Table:
    """One table of a file."""

    __slots__ = ("_data", "_fields", "_position", "_size")

    def __init__(self, data: bytes, position: int) -> None:
        """Raises `FlatbufferError` where no table lies at this position."""
        self._data = data
        self._position = position
        if position % 4:
            raise FlatbufferError(f"a table at {position} is not aligned")
        vtable = position - int(_read(data, position, "i")[0])
        vtable_size, self._size = _read(data, vtable, "HH")
        if vtable_size < 4 or vtable_size % 2 or self._size < 4:
            raise FlatbufferError(f"no table at {position}")
        _require(data, position, self._size)
        self._fields: tuple[int, ...] = _read(data, vtable + 4, f"{vtable_size // 2 - 2}H")

    def number(self, slot: int, code: str, default: Any = 0) -> Any:
        """Return a scalar field by its `struct` code."""
        position = self._at(slot, struct.calcsize(code))
        return default if position is None else _read(self._data, position, code)[0]

    def table(self, slot: int) -> "Table | None":
        """Return a table field, None where it is absent."""
        position = self._target(slot)
        return None if position is None else Table(self._data, position)

    def tables(self, slot: int) -> list["Table"]:
        """Return a vector of tables, [] where it is absent."""
        position = self._target(slot)
        if position is None:
            return []
        offsets = self.vector(slot, "I")
        if len(offsets) > MAX_TABLES:
            raise FlatbufferError(f"{len(offsets)} tables in one vector")
        first = position + 4
        return [Table(self._data, first + 4 * index + offset) for index, offset in enumerate(offsets)]

    def text(self, slot: int) -> str:
        """Return a string field, "" where it is absent."""
        position, size = self.extent(slot)
        _require(self._data, position, size + 1)
        if size and self._data[position + size]:
            raise FlatbufferError(f"the string at {position} does not end")
        return self._data[position : position + size].decode("utf-8", "replace")

    def vector(self, slot: int, code: str) -> tuple[Any, ...]:
        """Return a vector of scalars by their `struct` code, () where it is absent."""
        position, length = self.extent(slot, struct.calcsize(code))
        return _read(self._data, position, f"{length}{code}") if length else ()

    def extent(self, slot: int, item_size: int = 1) -> tuple[int, int]:
        """Return where a vector's items begin and how many there are, (0, 0) where it is absent."""
        position = self._target(slot)
        if position is None:
            return 0, 0
        length = int(_read(self._data, position, "I")[0])
        if (position + 4) % min(item_size, 4):
            raise FlatbufferError(f"a vector at {position} is not aligned")
        _require(self._data, position + 4, length * item_size)
        return position + 4, length

    def bytes_of(self, slot: int) -> bytes:
        """Return a vector of bytes, b"" where it is absent."""
        position, length = self.extent(slot)
        return self._data[position : position + length]

    def _at(self, slot: int, size: int) -> int | None:
        """Return where a field of so many bytes lies, None where it is absent."""
        offset = self._fields[slot] if slot < len(self._fields) else 0
        if not offset:
            return None
        if offset + size > self._size:
            raise FlatbufferError(f"field {slot} of the table at {self._position} does not lie in it")
        return self._position + offset

    def _target(self, slot: int) -> int | None:
        position = self._at(slot, 4)
        return None if position is None else position + int(_read(self._data, position, "I")[0])


def root_table(data: bytes, identifier: bytes) -> Table:
    """Return the table that a file begins with.

    Raises:
        FlatbufferError: the file is of another kind, or truncated.
    """
    if data[4:8] != identifier:
        raise FlatbufferError(f"the file's identifier is {data[4:8]!r}, not {identifier!r}")
    return Table(data, int(_read(data, 0, "I")[0]))


def check_flex_map(data: bytes) -> None:
    """Check a FlexBuffers map from strings to numbers.

    It ends with its root, that one's kind and width. The map has in front of its values the distance
    back to its keys, their width and its length, and behind them a byte a value for its kind.

    Raises:
        FlatbufferError: it is something else, or refers to what lies outside.
    """
    if len(data) < 3:
        raise FlatbufferError("no settings")
    kind, root_width = data[-2], data[-1]
    if kind >> 2 != _FLEX_MAP:
        raise FlatbufferError("the settings are no map")
    width = 1 << (kind & 3)
    values = _back(data, len(data) - 2 - root_width, root_width)
    length = _unsigned(data, values - width, width)
    keys_width = _unsigned(data, values - 2 * width, width)
    keys = _back(data, values - 3 * width, width)
    if _unsigned(data, keys - keys_width, keys_width) != length:
        raise FlatbufferError("the settings have not as many names as values")
    _require(data, values, length * (width + 1))
    for index in range(length):
        if data.find(0, _back(data, keys + index * keys_width, keys_width)) < 0:
            raise FlatbufferError("a setting's name does not end")
        packed = data[values + length * width + index]
        if packed >> 2 in _FLEX_INDIRECT:
            _unsigned(data, _back(data, values + index * width, width), 1 << (packed & 3))
        elif packed >> 2 not in _FLEX_INLINE:
            raise FlatbufferError("a setting is no number")


def _back(data: bytes, position: int, width: int) -> int:
    """Return what the distance at a position leads back to."""
    return position - _unsigned(data, position, width)


def _unsigned(data: bytes, position: int, width: int) -> int:
    if width not in _UNSIGNED:
        raise FlatbufferError(f"no number is {width} bytes wide")
    return int(_read(data, position, _UNSIGNED[width])[0])


def _read(data: bytes, position: int, code: str) -> tuple[Any, ...]:
    if position < 0:
        raise FlatbufferError(f"nothing lies at {position}")
    try:
        return struct.unpack_from(f"<{code}", data, position)
    except struct.error as exc:
        raise FlatbufferError(f"the file ends before byte {position}") from exc


def _require(data: bytes, position: int, size: int) -> None:
    if position < 0 or position + size > len(data):
        raise FlatbufferError(f"the file ends before byte {position + size}")
