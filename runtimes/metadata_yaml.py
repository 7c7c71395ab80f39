"""Reads the `metadata.yaml` that exporters leave beside a model, without a YAML library.

What such files hold is read: `key: value`, with lists and maps of one level below a key, in block or
in flow style. Anything else (anchors, several documents, deeper levels) is left out, never an error.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

FILE_NAME = "metadata.yaml"
MAX_BYTES = 4 << 20
"""A larger file is no metadata."""

_ENTRY = re.compile(r"""("[^"]*"|'(?:[^']|'')*'|[^\s'"\[\]{}#&*!|>%@`:,-][^:#]*?|-?\d+)\s*:(?:\s+(.*))?""")
_INTEGER = re.compile(r"-?\d{1,18}")
_COMMENT = re.compile(r"\s+#.*$|^#.*$")
_FLOW_ITEM = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^,\[\]{}]+)\s*(?:,|$)""")

Scalar = int | str


def read_beside(model: Path) -> dict[str, str]:
    """Return the pairs of the `metadata.yaml` in a model's folder, {} where there is none to read."""
    path = model.with_name(FILE_NAME)
    try:
        if path.stat().st_size > MAX_BYTES:
            return {}
        return read_pairs(path.read_text(encoding="utf-8-sig", errors="replace"))
    except (OSError, ValueError):
        return {}


def read_pairs(text: str) -> dict[str, str]:
    """Return the top-level pairs in the style of a model file's own: lists and maps as Python literals.

    `names:` with `0: person` below it becomes "{0: 'person'}", as `runtimes.metadata` reads it.
    """
    return {key: value for key, value in map(_pair, _sections(text)) if value is not None}


def _sections(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """Yield key, text behind it, and the lines below it for each top-level key."""
    key, inline, below = "", "", list[str]()
    for raw in text.splitlines():
        line = _without_comment(raw)
        match = _ENTRY.fullmatch(line) if line[:1].strip() else None
        if match:
            if key:
                yield key, inline, below
            key, inline, below = str(_scalar(match[1])), (match[2] or "").strip(), []
        elif line.strip() and not line.startswith(("---", "...", "%")):
            below.append(line)
    if key:
        yield key, inline, below


def _pair(section: tuple[str, str, list[str]]) -> tuple[str, str | None]:
    key, inline, below = section
    if inline:
        return key, _inline(" ".join([inline, *(line.strip() for line in below)]))
    level = min((_indent(line) for line in below), default=0)
    lines = [line.strip() for line in below if _indent(line) == level]
    items = [line[1:].strip() for line in lines if line == "-" or line.startswith("- ")]
    if items:
        return key, repr([_scalar(item) for item in items])
    entries = [match for match in map(_ENTRY.fullmatch, lines) if match]
    return key, repr({_scalar(match[1]): _scalar(match[2] or "") for match in entries}) if entries else None


def _inline(text: str) -> str | None:
    """Return a scalar's text, or a flow list's or map's as a literal."""
    if text[0] in "&*!|>":
        return None
    if text[0] == "[" and text[-1] == "]":
        return repr([_scalar(item) for item in _flow_items(text[1:-1])])
    if text[0] == "{" and text[-1] == "}":
        entries = [match for match in map(_ENTRY.fullmatch, _flow_items(text[1:-1])) if match]
        return repr({_scalar(match[1]): _scalar(match[2] or "") for match in entries})
    return str(_scalar(text))


def _flow_items(text: str) -> Iterator[str]:
    position = 0
    while text[position:].strip():
        match = _FLOW_ITEM.match(text, position)
        if match is None:
            return
        yield match[1].strip()
        position = match.end()


def _scalar(text: str) -> Scalar:
    """Return a number for plain digits, else the text without its quotes."""
    text = text.strip()
    if _INTEGER.fullmatch(text):
        return int(text)
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return _double_quoted(text)
    return text


def _double_quoted(text: str) -> str:
    try:
        return str(ast.literal_eval(text))  # YAML's escapes are near to Python's
    except (ValueError, SyntaxError):
        return text[1:-1]


def _without_comment(line: str) -> str:
    """Cut a comment off, where no quote may hold the sign."""
    return line.rstrip() if "'" in line or '"' in line else _COMMENT.sub("", line).rstrip()


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
