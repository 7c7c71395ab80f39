"""Where the index of an MP4 is, from the boxes at its top, as early as they tell."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.mp4_layout import MAX_BOXES_BEFORE_INDEX, BoxWalk, Layout
from tests.streaming.clips import FASTSTART, FRAGMENTED, INDEX_AT_END, MATROSKA, TRANSPORT, WEBM, Clip, encode


def box(kind: str, payload: int = 0, *, size: int | None = None) -> bytes:
    """Return a box of so many zeros; `size` overrides what its header says."""
    return struct.pack(">I4s", 8 + payload if size is None else size, kind.encode("latin-1")) + bytes(payload)


def long_box(kind: str, payload: int = 0, *, size: int | None = None) -> bytes:
    """Return a box with a 64-bit size."""
    said = 16 + payload if size is None else size
    return struct.pack(">I4sQ", 1, kind.encode("latin-1"), said) + bytes(payload)


def walk_over(data: bytes) -> BoxWalk:
    walk = BoxWalk()
    walk.advance(lambda offset, size: data[offset : offset + size])
    return walk


def earliest(data: bytes) -> tuple[Layout, int]:
    """Give the bytes one by one; return the first answer and after how many bytes it came."""
    walk = BoxWalk()
    for there in range(len(data) + 1):
        walk.advance(lambda offset, size, there=there: data[offset : min(offset + size, there)])
        if walk.layout is not Layout.NOT_KNOWN:
            return walk.layout, there
    return walk.layout, len(data)


FTYP = box("ftyp", 16)

LAYOUTS = {
    "faststart": (FTYP + box("moov", 50) + box("mdat", 50), Layout.INDEX_FIRST, 32),
    "index at the end": (FTYP + box("mdat", 50) + box("moov", 50), Layout.INDEX_LAST, 32),
    "as ffmpeg writes it": (FTYP + box("free") + box("mdat", 9) + box("moov"), Layout.INDEX_LAST, 40),
    "64-bit samples": (FTYP + long_box("mdat", 9) + box("moov"), Layout.INDEX_LAST, 40),
    "old QuickTime": (box("wide") + box("mdat", 9) + box("moov"), Layout.INDEX_LAST, 16),
    "without ftyp": (box("moov", 9), Layout.INDEX_FIRST, 8),
    "fragments": (box("styp", 4) + box("sidx", 8) + box("moof", 9), Layout.INDEX_FIRST, 36),
    "things before it": (
        box("skip", 3) + box("uuid", 20) + box("junk") + box("moov"),
        Layout.INDEX_FIRST,
        55,
    ),
    "an unknown box before it": (FTYP + box("Xtra", 5) + box("moov"), Layout.INDEX_FIRST, 45),
    "samples to the end": (FTYP + box("mdat", 9, size=0), Layout.INDEX_LAST, 32),
    "an index to the end": (FTYP + box("moov", 9, size=0), Layout.INDEX_FIRST, 32),
    "HEIF": (FTYP + box("meta", 20) + box("mdat", 9), Layout.INDEX_LAST, 60),
    "nothing": (b"", Layout.NOT_KNOWN, 0),
    "half a header": (b"\0\0\0\x18fty", Layout.NOT_KNOWN, 7),
    "half a box": (FTYP[:20], Layout.NOT_KNOWN, 20),
    "no box": (b"\x1aE\xdf\xa3\x01\0\0\0\0\0\0\x1f", Layout.NOT_MP4, 8),
    "text": (b"Lorem ipsum dolor sit amet", Layout.NOT_MP4, 8),
    "a box of another kind first": (box("Xtra", 5) + box("moov"), Layout.NOT_MP4, 8),
    "no box after one": (FTYP + b"\0\0\0\x08\0\1\2\3", Layout.NOT_MP4, 32),
    "a box shorter than its header": (FTYP + box("moov", size=7), Layout.NOT_MP4, 32),
    "a long box shorter than its header": (FTYP + long_box("moov", size=15), Layout.NOT_MP4, 40),
    "padding to the end": (FTYP + box("free", 9, size=0), Layout.NOT_MP4, 32),
    "a box of 16 EiB": (FTYP + long_box("free", size=2**64 - 1) + box("moov"), Layout.NOT_KNOWN, 48),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_tells_the_layout_as_early_as_the_headers_do(name):
    data, layout, after = LAYOUTS[name]
    assert earliest(data) == (layout, after)


def test_endless_boxes_without_an_index_are_no_mp4():
    assert walk_over(FTYP + box("free") * MAX_BOXES_BEFORE_INDEX).layout is Layout.NOT_MP4


@pytest.mark.parametrize(
    ("clip", "layout"),
    [
        (FASTSTART, Layout.INDEX_FIRST),
        (FRAGMENTED, Layout.INDEX_FIRST),
        (INDEX_AT_END, Layout.INDEX_LAST),
        (Clip(container="mov"), Layout.INDEX_LAST),
        (MATROSKA, Layout.NOT_MP4),
        (WEBM, Layout.NOT_MP4),
        (TRANSPORT, Layout.NOT_MP4),
    ],
)
def test_real_files(clip: Clip, layout: Layout):
    data = encode(clip)
    assert walk_over(data).layout is layout
    assert walk_over(data).truncation(len(data)) is None


CUT = {
    "in the samples": (FTYP + box("moov", 50) + box("mdat", 50), 90, r'byte 90, inside the box "mdat" .* 82'),
    "in the samples, the index to come": (FTYP + box("mdat", 50) + box("moov", 50), 40, 'box "mdat"'),
    "in the index": (FTYP + box("mdat", 50) + box("moov", 50), 100, 'box "moov"'),
    "before the index": (FTYP + box("mdat", 50) + box("moov", 50), 82, "index .* has not come"),
    "within the index's header": (FTYP + box("mdat", 50) + box("moov", 50), 86, "index .* has not come"),
    "after the type of file": (FTYP + box("moov", 50), 24, "index .* has not come"),
    "in the type of file": (FTYP + box("moov", 50), 12, 'box "ftyp" that begins at byte 0 and is 24 bytes'),
    "in a later fragment": (FTYP + (box("moof", 20) + box("mdat", 50)) * 2, 125, 'box "moof"'),
    "in padding without an end": (FTYP + box("moov") + long_box("free", size=2**64 - 1), 48, 'box "free"'),
}


@pytest.mark.parametrize("name", CUT)
def test_tells_where_a_file_is_cut(name):
    data, size, where = CUT[name]
    message = walk_over(data[:size]).truncation(size)
    assert message is not None
    with pytest.raises(AssertionError, match=where):
        raise AssertionError(message)


WHOLE = {
    "all boxes end with the file": FTYP + box("moov", 50) + box("mdat", 50),
    "samples to the end": FTYP + box("moov", 50) + box("mdat", 50, size=0),
    "a fragment was cut off whole": FTYP + box("moov", 50) + box("moof", 9) + box("mdat", 50),
    "zeros at the end": FTYP + box("moov", 50) + box("mdat", 50) + bytes(100),
    "a tag of music players at the end": FTYP + box("moov") + b"TAGA name of a song" + bytes(109),
    "no MP4": b"Lorem ipsum dolor sit amet",
    "nothing": b"",
}


@pytest.mark.parametrize("name", WHOLE)
def test_finds_nothing_wrong_with_what_is_whole(name):
    assert walk_over(WHOLE[name]).truncation(len(WHOLE[name])) is None


boxes = st.builds(
    lambda kind, payload, long: (long_box if long else box)(kind, payload),
    st.sampled_from(["ftyp", "moov", "mdat", "free", "skip", "wide", "uuid", "moof", "Xtra", "meta"]),
    st.integers(0, 40),
    st.booleans(),
)


@given(st.lists(boxes, max_size=12).map(b"".join) | st.binary(max_size=200))
def test_the_answer_depends_on_the_bytes_alone(data: bytes):
    """Byte by byte or all at once; and the first answer stands."""
    walk = BoxWalk()
    answers = []
    for there in range(len(data) + 1):
        walk.advance(lambda offset, size, there=there: data[offset : min(offset + size, there)])
        answers.append(walk.layout)
    whole = walk_over(data)
    known = [answer for answer in answers if answer is not Layout.NOT_KNOWN]
    assert len(set(known)) <= 1
    assert (walk.layout, walk.offset, walk.last, walk.over) == (
        whole.layout,
        whole.offset,
        whole.last,
        whole.over,
    )
    assert walk.truncation(len(data)) == whole.truncation(len(data))


@given(st.lists(boxes, min_size=1, max_size=8), st.data())
def test_a_file_cut_within_a_box_is_never_whole(parts: list[bytes], data: st.DataObject):
    file = box("ftyp", 4) + box("moov", 4) + b"".join(parts)
    last = len(file) - len(parts[-1])
    header = 16 if parts[-1][:4] == b"\0\0\0\1" else 8
    cut = data.draw(st.integers(last + header, len(file)))
    known = parts[-1][4:8] != b"Xtra"
    assert (walk_over(file[:cut]).truncation(cut) is None) == (cut == len(file) or not known)


@given(st.binary(min_size=8, max_size=64))
def test_hostile_bytes_after_a_beginning_do_no_harm(tail: bytes):
    data = FTYP + tail
    walk = walk_over(data)
    walk.truncation(len(data))
    assert walk.offset >= 0
