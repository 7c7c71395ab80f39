"""What a failure of a URL is called, and what of a URL may be shown. Pure."""

import errno
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from streaming.errors import BadStreamError, BrokenStreamError, SourceUnavailableError, StreamError

SCHEMES = ("rtsp", "rtsps", "http", "https")

_UNFIT = re.compile(r"[\x00-\x20\x7f]")
"""What would end a line or a word of a request."""

_REASONS = {
    "HTTPNotFoundError": "not_found",
    "HTTPUnauthorizedError": "unauthorized",
    "HTTPForbiddenError": "unauthorized",
    "HTTPClientError": "refused",
    "HTTPError": "refused",
    "ExitError": "timeout",
    "TimeoutError": "timeout",
    "ConnectionRefusedError": "unreachable",
    "ConnectionError": "interrupted",
    "EOFError": "interrupted",
}
"""By the names of libavformat's errors and of their bases, which RTSP shares with HTTP."""
_ERRNO_REASONS = {
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
    errno.ENETDOWN: "unreachable",
    errno.EADDRNOTAVAIL: "unreachable",
}

_TEXTS = {
    "not_found": "{place} is not there (404); check the path of the URL",
    "unauthorized": "{place} does not let us in (401 or 403); check the user and the password of the URL",
    "refused": "{place} refuses: {detail}",
    "unreachable": "{place} cannot be reached: {detail}; check host and port, the server's certificate where "
    "it has one, and that the server runs",
    "timeout": "{place} gave nothing for {timeout_s:g} s; check that the server sends, or allow more time",
    "interrupted": "the connection to {place} broke: {detail}",
}


@dataclass(frozen=True, slots=True)
class Failed:
    """How far a connection was when it failed."""

    url: str
    opened: bool
    """Whether the container was known: what came before was about reaching the server."""
    quiet_s: float
    """Seconds since the last sign of life."""
    timeout_s: float


def read_url(url: str) -> SplitResult:
    """Return the parts of a URL that can be opened.

    Raises:
        BadStreamError: it is none, or of another scheme.
    """
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and (parts.port is None or parts.port > 0) and not _UNFIT.search(url)
    except ValueError:
        raise BadStreamError("the URL of the stream is none: expected scheme://host[:port]/path") from None
    if parts.scheme not in SCHEMES:
        raise BadStreamError(f"a stream's URL begins with one of {', '.join(SCHEMES)}")
    if not fits:
        raise BadStreamError(
            "the URL of the stream is none: expected scheme://host[:port]/path, without spaces"
        )
    return parts


def shown(url: str) -> str:
    """Return a URL as it may be shown: without user, password, query and fragment.

    A segment of the path with "=" is left out, too: some cameras have their password there.
    """
    parts = urlsplit(url)
    path = "/".join("…" if "=" in segment else segment for segment in parts.path.split("/"))
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def url_error(error: StreamError, failed: Failed) -> StreamError:
    """Return what an error of decoding a URL is to a host; `error` itself where it is about the content."""
    cause = error.__cause__
    reason = _reason(cause, failed) if isinstance(cause, Exception) else None
    if reason is None and isinstance(error, BrokenStreamError) and failed.url.startswith("rtsp"):
        reason = "interrupted"  # no file: the next connection may be whole
    if reason is None:
        return error
    detail = str(error) if reason == "interrupted" and failed.opened else _detail(cause, reason)
    return unavailable(reason, failed, detail)


def unavailable(reason: str, failed: Failed, detail: str = "") -> SourceUnavailableError:
    """Return the error of a reason, with its next step."""
    text = _TEXTS[reason].format(place=shown(failed.url), detail=detail, timeout_s=failed.timeout_s)
    return SourceUnavailableError(text, reason)


def _reason(cause: Exception, failed: Failed) -> str | None:
    """Return the reason; None where the content is what is wrong."""
    named = _by_name(type(cause), _REASONS) or _ERRNO_REASONS.get(getattr(cause, "errno", None) or 0)
    if named is not None:
        return named
    if not isinstance(cause, OSError | ValueError):
        return None
    # TLS, RTSP and demuxers make of a time-out that they saw one of these.
    if failed.quiet_s >= failed.timeout_s:
        return "timeout"
    if isinstance(cause, OSError):  # EIO: no such host, no valid certificate, an end that comes too early
        return "interrupted" if failed.opened else "unreachable"
    if not failed.opened and getattr(cause, "errno", None) == errno.EINVAL:
        return "refused"  # a redirection to where it may not lead
    return None


def _by_name(kind: type[BaseException], names: Mapping[str, str]) -> str | None:
    return next((names[base.__name__] for base in kind.__mro__ if base.__name__ in names), None)


def _detail(cause: BaseException | None, reason: str) -> str:
    """Return libavformat's own words, which have no part of the URL in them."""
    words = getattr(cause, "strerror", None)
    if reason == "refused" and getattr(cause, "errno", None) == errno.EINVAL:
        return "it leads to a place that no stream may come from"
    if not words or isinstance(cause, ValueError | EOFError):
        return "it ended before its time, or is no stream of this kind"
    return str(words)
