"""What counts as the chunks of one whole file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_files.errors import FileTooLargeError, ModelFileError, SourceFailedError
from model_files.model_cache_chunks import ChunkCheck
from protos.generated.model_management_pb2 import ModelFileChunk

Row = tuple[int, bytes, int, bool]
"""Offset, data, total size, whether it is the last."""


def joined(rows: list[Row], max_bytes: int | None = None) -> bytes:
    check = ChunkCheck("modelcache://m/f", max_bytes)
    pieces = [
        check.take(ModelFileChunk(offset=offset, data=data, total_size=total, is_last=is_last))
        for offset, data, total, is_last in rows
    ]
    check.end()
    assert check.total == sum(map(len, pieces))
    return b"".join(pieces)


@pytest.mark.parametrize(
    ("rows", "content"),
    [
        ([(0, b"", 0, True)], b""),
        ([(0, b"abc", 3, True)], b"abc"),
        ([(0, b"ab", 3, False), (2, b"c", 3, True)], b"abc"),
        # A server that finds the end only when it reads no more.
        ([(0, b"abc", 3, False), (3, b"", 3, True)], b"abc"),
    ],
)
def test_a_whole_file(rows: list[Row], content: bytes) -> None:
    assert joined(rows) == content


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "it ended after 0 bytes without a last chunk"),
        ([(0, b"ab", 3, False)], "it ended after 2 bytes without a last chunk"),
        ([(0, b"abc", 3, False)], "it ended after 3 bytes without a last chunk"),
        ([(0, b"ab", 3, True)], "the last chunk ends at byte 2 of 3"),
        ([(0, b"", 3, True)], "the last chunk ends at byte 0 of 3"),
        ([(0, b"abc", 3, True), (3, b"", 3, True)], "a chunk after the last one"),
        ([(0, b"abc", 3, True), (0, b"abc", 3, True)], "a chunk after the last one"),
        ([(1, b"ab", 3, False)], "a chunk for byte 1 where 0 comes next"),
        ([(-1, b"ab", 3, False)], "a chunk for byte -1 where 0 comes next"),
        ([(0, b"a", 3, False), (2, b"c", 3, True)], "a chunk for byte 2 where 1 comes next"),
        ([(0, b"ab", 3, False), (1, b"bc", 3, True)], "a chunk for byte 1 where 2 comes next"),
        ([(0, b"ab", 3, False), (0, b"ab", 3, False)], "a chunk for byte 0 where 2 comes next"),
        ([(0, b"ab", 3, False), (2, b"c", 4, True)], "a size of 4 bytes after one of 3"),
        ([(0, b"ab", 3, False), (2, b"c", 2, True)], "a size of 2 bytes after one of 3"),
        ([(0, b"abcd", 3, False)], "4 bytes of a file of 3"),
        ([(0, b"ab", 3, False), (2, b"cd", 3, True)], "4 bytes of a file of 3"),
        ([(0, b"a", 0, True)], "1 bytes of a file of 0"),
        ([(0, b"", -1, True)], "a size of -1 bytes"),
        ([(0, b"a", -(2**63), False)], "a size of -9223372036854775808 bytes"),
        ([(0, b"", 3, False)], "a chunk of no bytes that is not the last"),
        ([(0, b"abc", 3, False), (3, b"", 3, False)], "a chunk of no bytes that is not the last"),
    ],
)
def test_what_is_no_file(rows: list[Row], fault: str) -> None:
    with pytest.raises(SourceFailedError) as caught:
        joined(rows)
    assert str(caught.value) == f"modelcache://m/f: the model cache sent a broken stream: {fault}"


def test_a_file_that_is_too_large() -> None:
    assert joined([(0, b"abc", 3, True)], max_bytes=3) == b"abc"
    with pytest.raises(FileTooLargeError, match="has 9223372036854775807 bytes, and 3 are allowed"):
        joined([(0, b"abc", 2**63 - 1, False)], max_bytes=3)


ROWS = st.lists(
    st.tuples(st.integers(-2, 9), st.binary(max_size=3), st.integers(-2, 9), st.booleans()), max_size=4
)


@given(ROWS)
def test_anything_is_a_file_or_refused(rows: list[Row]) -> None:
    try:
        content = joined(rows)
    except ModelFileError:
        return
    assert len(content) == rows[0][2]
    assert [is_last for *_, is_last in rows] == [False] * (len(rows) - 1) + [True]


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_file_in_chunks_of_any_size(content: bytes, size: int) -> None:
    offsets = range(0, max(len(content), 1), size)
    rows = [
        (at, content[at : at + size], len(content), number == len(offsets) - 1)
        for number, at in enumerate(offsets)
    ]
    assert joined(rows) == content
