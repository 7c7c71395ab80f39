"""Tables for a terminal."""

from collections.abc import Collection, Sequence

from worker.cli.terminal import display_width, shortened, shortened_path

_GAP = 2
_LEAST = 8
"""Columns that a column of words keeps, however narrow the terminal is."""


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    words: Collection[int] = (0,),
) -> str:
    """Return aligned columns, words to the left and all else to the right.

    Args:
        head: a word for each column.
        rows: as many cells each.
        width: of the terminal; columns of words are shortened until the table fits, the widest first.
        words: the columns of words.
    """
    widths = [max(map(display_width, column)) for column in zip(head, *rows, strict=True)]
    if width is not None:
        _narrow(widths, words, width)
    lines = [head, ["─" * columns for columns in widths], *rows]
    return "\n".join(_line(line, widths, words) for line in lines)


def _narrow(widths: list[int], words: Collection[int], width: int) -> None:
    """Take what is too much from the widest columns of words, in place."""
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    for _ in range(max(0, excess)):
        widest = max(words, key=lambda column: widths[column])
        widths[widest] = max(_LEAST, widths[widest] - 1)


def _line(cells: Sequence[str], widths: Sequence[int], words: Collection[int]) -> str:
    aligned = [
        _cell(text, width, column, column in words)
        for column, (text, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return (" " * _GAP).join(aligned).rstrip()


def _cell(text: str, width: int, column: int, is_words: bool) -> str:
    # The first column names what a row is about: of a path, the end tells most.
    text = shortened_path(text, width) if column == 0 else shortened(text, width)
    space = " " * (width - display_width(text))
    return text + space if is_words else space + text
