"""What a terminal can show: its width, its colours, and how wide a text is on it."""

import os
import shutil
import stat
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TextIO

_ELLIPSIS = "…"
_DEFAULT_COLUMNS = 80


class Palette:
    """Colours for one stream; none where it is no terminal, or NO_COLOR is set (no-color.org)."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def stream(self) -> TextIO:
        stream: TextIO = getattr(sys, self._name)
        return stream

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it, on something that can move its cursor."""
        return self.stream.isatty() and os.environ.get("TERM") != "dumb"

    @property
    def is_pipe(self) -> bool:
        """Whether another program reads it."""
        try:
            return stat.S_ISFIFO(os.fstat(self.stream.fileno()).st_mode)
        except (OSError, ValueError):  # no descriptor, as under a test runner
            return False

    def good(self, text: str) -> str:
        return self._painted(text, "32")

    def bad(self, text: str) -> str:
        return self._painted(text, "31")

    def bold(self, text: str) -> str:
        return self._painted(text, "1")

    def dim(self, text: str) -> str:
        return self._painted(text, "2")

    def _painted(self, text: str, code: str) -> str:
        plain = not self.is_terminal or os.environ.get("NO_COLOR")
        return text if plain else f"\x1b[{code}m{text}\x1b[0m"


STDOUT = Palette("stdout")
STDERR = Palette("stderr")


def program() -> str:
    """Return how this program was called, for texts that tell what to type."""
    called = Path(sys.argv[0]).stem
    return called if called == "inferpipe" else "python -m worker"


def columns() -> int:
    """Return the width of the terminal; where there is none, that of the commonest."""
    return max(40, shutil.get_terminal_size((_DEFAULT_COLUMNS, 24)).columns)


def wrapped(text: str, indent: int) -> str:
    """Return a text that fits the terminal, all its lines indented."""
    margin = " " * indent
    return textwrap.fill(
        text,
        columns(),
        initial_indent=margin,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )


def note(text: str) -> None:
    """Tell something on stderr that is neither result nor failure."""
    head = "note:"
    print(STDERR.bold(head) + wrapped(text, len(head) + 1)[len(head) :], file=STDERR.stream)


def display_width(text: str) -> int:
    """Return the columns that a text takes: wide characters take two, combining ones none."""
    return sum(_character_width(character) for character in text)


def shortened(text: str, width: int) -> str:
    """Return a text of at most so many columns, an ellipsis for what its end lost."""
    if display_width(text) <= width:
        return text
    kept = text
    while kept and display_width(kept) > width - 1:
        kept = kept[:-1]
    return kept + _ELLIPSIS


def shortened_path(text: str, width: int) -> str:
    """Return a path of at most so many columns; its end, which tells files apart, is kept."""
    return text if display_width(text) <= width else shortened(text[::-1], width)[::-1]


def printable(path: Path) -> str:
    """Return a path as it can be shown: bytes that are no UTF-8 and control characters replaced."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "�" for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
