"""Makes one line of what PyTorch raises."""

import re

FAILURES: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    MemoryError,
)
"""What running a program raises: the library has no root of its own."""

_MAX_TEXT = 300
_CAUSE = re.compile(r"^(?:\w+\.)*\w*(?:Error|Exception): (?=\S)", re.MULTILINE)
_NATIVE_TRACE = re.compile(
    r"\n(?:Exception raised from|C\+\+ CapturedTraceback|While executing %|Original traceback:)"
)
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")


def short_text(exc: BaseException) -> str:
    """Return the cause in one line: of the interpreter's errors the last one, without its traces."""
    text = _TERMINAL_CODES.sub("", str(exc))
    text = _NATIVE_TRACE.split(text)[0]
    text = _CAUSE.split(text)[-1]
    text = " ".join(text.split()) or type(exc).__name__
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
