"""What the head of an HTTP answer says about a file. Pure."""

import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from model_files.errors import MissingFileError, ModelFileError, SourceFailedError, SourceUnavailableError
from model_files.source import RemoteStat

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MISSING = frozenset({404, 410})
_PASSING = frozenset({408, 425, 429})
"""Refusals that another moment may undo, beside all of the server's own failures."""
_REFUSED = {
    401: "it wants credentials, or other ones",
    403: "it does not give this file out to us",
    407: "a proxy wants credentials",
    451: "it must not give this file out",
}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.IGNORECASE)
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Body:
    """What is about to come."""

    stat: RemoteStat
    offset: int
    """Where it begins in the file."""
    length: int | None
    """Bytes; None where pieces of told lengths are sent."""


def is_strong(validator: str | None) -> bool:
    """Whether a validator is an ETag by which two answers can be put together."""
    return validator is not None and validator.startswith('"')


def validator_of(headers: Mapping[str, str]) -> str | None:
    """Return the ETag, else the date of the last change: enough to tell that a file is another one."""
    return headers.get("ETag") or headers.get("Last-Modified")


def error_of(
    status: int, headers: Mapping[str, str], uri: str, now: datetime | None = None
) -> ModelFileError:
    """Return what a status says about a file that was asked for; `uri` is the file as it may be shown."""
    if status in _MISSING:
        return MissingFileError(f"no such file: {uri} (HTTP {status})")
    if status in _PASSING or status >= 500:
        wait = retry_after_s(headers, now or datetime.now(UTC))
        return SourceUnavailableError(f"{uri}: the server answers HTTP {status}", wait)
    reason = _REFUSED.get(status)
    return SourceFailedError(f"{uri}: the server answers HTTP {status}" + (f": {reason}" if reason else ""))


def retry_after_s(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that Retry-After asks for, at most an hour; None where it says nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_WAIT_S)
    try:
        date = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return min(max((date - now).total_seconds(), 0.0), _LONGEST_WAIT_S)


def whole_of(headers: Mapping[str, str], uri: str) -> Body:
    """Read the head of an answer with all of a file.

    Raises:
        SourceFailedError: its end could not be told from a broken connection.
    """
    _check_encoding(headers, uri)
    length = _length(headers, uri)
    if length is None and "chunked" not in headers.get("Transfer-Encoding", "").lower():
        raise SourceFailedError(f"{uri}: the server does not say how long the file is")
    return Body(RemoteStat(size=length, validator=validator_of(headers)), 0, length)


def part_of(headers: Mapping[str, str], offset: int, uri: str) -> Body:
    """Read the head of an answer with the rest of a file.

    Args:
        headers: of the answer.
        offset: where the rest was asked to begin.
        uri: the file, as it may be shown.

    Raises:
        SourceFailedError: it is another part than what was asked for.
    """
    _check_encoding(headers, uri)
    told = headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(told.strip())
    first, last, size = (int(group) for group in match.groups()) if match else (-1, -1, -1)
    length = _length(headers, uri)
    if first != offset or last != size - 1 or length not in {None, last - first + 1}:
        raise SourceFailedError(
            f"{uri}: asked for the rest from {offset}, the server sends {told or 'a part'!r}"
        )
    return Body(RemoteStat(size=size, validator=validator_of(headers)), first, last - first + 1)


def size_of_part(headers: Mapping[str, str]) -> int | None:
    """Return a file's size as the answer with any part of it tells it."""
    match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    return int(match[3]) if match else None


def _length(headers: Mapping[str, str], uri: str) -> int | None:
    value = headers.get("Content-Length")
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise SourceFailedError(f"{uri}: the server tells a length that is none: {value!r}")
    return int(value)


def _check_encoding(headers: Mapping[str, str], uri: str) -> None:
    encoding = headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in {"", "identity"}:
        raise SourceFailedError(f"{uri}: the server sends it packed ({encoding}) though asked not to")
