"""Tells from the boxes of a growing MP4 or QuickTime file whether its index is at the end.

Only box headers are looked at, so that a file of any size costs a few bytes. Boxes: ISO/IEC 14496-12, 4.2.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

HEADER_BYTES = 16
"""The longest box header that matters: size, type, 64-bit size."""

MAX_BOXES_BEFORE_INDEX = 1024
"""More boxes than this without an index are no file that anybody has made."""

_COMPLETE_MOVIE = frozenset({b"moov", b"moof"})
"""The index, or a part of it: samples come after it."""

_SAMPLES = b"mdat"

_STILL_PICTURE = b"meta"
"""At the top of a file: HEIF and AVIF have their index in it."""

_KNOWN = _COMPLETE_MOVIE | frozenset(
    {
        _SAMPLES,
        _STILL_PICTURE,
        *(b"ftyp", b"styp", b"free", b"skip", b"wide", b"uuid", b"pnot", b"udta", b"junk", b"pict"),
        *(b"PICT", b"ediw", b"prfl", b"pdin", b"sidx", b"ssix", b"prft", b"emsg", b"mfra"),
    }
)
"""One of these begins a file; among the later boxes, any type of printable characters is skipped."""


class Layout(Enum):
    """Where the index of a file is."""

    NOT_KNOWN = "not known yet"
    NOT_MP4 = "not an MP4"
    INDEX_FIRST = "index first"
    """Faststart or fragmented: samples can be read as they come."""
    INDEX_LAST = "index at the end"
    """Samples have come, and no index: the file has to be whole first."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box at the top of the file, as its header says."""

    kind: bytes
    """Four characters."""
    start: int
    """Offset of its header, in bytes."""
    end: int | None
    """Offset of what follows; None: it goes on to the end of the file."""

    @property
    def name(self) -> str:
        return self.kind.decode("latin-1")


class NotABoxError(ValueError):
    """These bytes are no box header."""


def parse_header(header: bytes, start: int) -> Box | None:
    """Read a box header.

    Args:
        header: the bytes at `start`, 16 or as many as there are.
        start: its offset in the file.

    Returns:
        None where that needs more bytes.

    Raises:
        NotABoxError: no more bytes can make it one.
    """
    if len(header) < 8:
        return None
    size, kind = struct.unpack_from(">I4s", header)
    if not all(0x20 <= character < 0x7F or character == 0xA9 for character in kind):
        raise NotABoxError(f"byte {start:,}: {kind!r} is no type of a box")
    if size == 0:
        return Box(kind, start, None)
    header_bytes = 8
    if size == 1:
        if len(header) < HEADER_BYTES:
            return None
        (size,) = struct.unpack_from(">Q", header, 8)
        header_bytes = HEADER_BYTES
    if size < header_bytes:
        raise NotABoxError(f"byte {start:,}: a box of {size} bytes is shorter than its header")
    return Box(kind, start, start + size)


class BoxWalk:
    """Walks over the boxes of a file as its bytes come.

    Whoever has the file gives it the bytes at `offset`, `HEADER_BYTES` of them or as many as there
    are, until `feed` wants more than there is: `advance` does that.
    """

    def __init__(self) -> None:
        self.layout = Layout.NOT_KNOWN
        self.offset = 0
        """Where the next header is; all before it needs not be looked at again."""
        self.last: Box | None = None
        """The box before that."""
        self.over = False
        """Whether no further header is looked for."""
        self.has_index = False
        """Whether an index, or a part of one, has been seen."""
        self._boxes = 0

    @property
    def is_mp4(self) -> bool:
        """Whether the file began with a box that begins MP4 files."""
        return self._boxes > 0 and self.layout is not Layout.NOT_MP4

    def feed(self, header: bytes) -> bool:
        """Take the bytes at `offset`, and tell whether the walk went on to the next box."""
        if self.over:
            return False
        try:
            box = parse_header(header, self.offset)
        except NotABoxError:
            self._stop()
            return False
        if box is None:
            return False
        if self._boxes == 0 and box.kind not in _KNOWN:
            self._stop()
            return False
        self._take(box)
        return not self.over

    def advance(self, read_at: Callable[[int, int], bytes]) -> None:
        """Walk as far as the bytes go. `read_at(offset, size)` gives what is there, b"" for nothing."""
        while not self.over and self.feed(read_at(self.offset, HEADER_BYTES)):
            pass

    def truncation(self, size: int) -> str | None:
        """Say where a complete file of this size lacks bytes; None where its boxes say no more than it has.

        The walk has been over all of it. A box of an unknown type at the end says nothing: it may be
        bytes of another kind that something has put there.
        """
        if not self.is_mp4:
            return None
        box = self.last
        if box is not None and box.end is not None and box.end > size and box.kind in _KNOWN:
            return (
                f'the data end at byte {size:,}, inside the box "{box.name}" '
                f"that begins at byte {box.start:,} and is {box.end - box.start:,} bytes long"
            )
        if not self.has_index:
            return f'the data end at byte {size:,}, and the index of the file (a box "moov") has not come'
        return None

    def _take(self, box: Box) -> None:
        self._boxes += 1
        self.last = box
        self.has_index |= box.kind in _COMPLETE_MOVIE or box.kind == _STILL_PICTURE
        if self.layout is Layout.NOT_KNOWN:
            self.layout = _layout_after(box.kind)
        if box.end is not None:
            self.offset = box.end
        too_many = self.layout is Layout.NOT_KNOWN and self._boxes >= MAX_BOXES_BEFORE_INDEX
        if box.end is None or too_many:
            self._stop()

    def _stop(self) -> None:
        """No further box is looked for: what follows is none, or the last one has no end."""
        self.over = True
        if self.layout is Layout.NOT_KNOWN:
            self.layout = Layout.NOT_MP4


def _layout_after(kind: bytes) -> Layout:
    if kind in _COMPLETE_MOVIE:
        return Layout.INDEX_FIRST
    return Layout.INDEX_LAST if kind == _SAMPLES else Layout.NOT_KNOWN
