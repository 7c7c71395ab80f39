"""Requests over HTTP: connections that are used again, redirections by the rules, faults in our words.

Texts of the library's exceptions are never passed on: they hold whole URLs, and those hold signatures.
"""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

from model_files.errors import ModelFileError, SourceFailedError, SourceUnavailableError
from model_files.extras import library
from model_files.http_answers import REDIRECTS
from model_files.http_urls import Url, redirected

if TYPE_CHECKING:
    import urllib3
    from urllib3.response import BaseHTTPResponse

MAX_REDIRECTS = 5
CHUNK_BYTES = 1 << 20
"""Most that is read at once: fewer, larger pieces cost less, and a broken transfer loses at most one."""
_CONNECTIONS = 8
"""Kept open to one server: files of a model that are fetched side by side."""
_USER_AGENT = "inferpipe"


class HttpClient:
    """Opens answers. Used by several threads at once."""

    def __init__(self, stall_s: float, extra: str = "http") -> None:
        """Set it up; nothing is imported or opened yet.

        Args:
            stall_s: seconds without a byte, or without a connection, after which a server counts as gone.
            extra: of this distribution, that brings the library for whoever asks.
        """
        self._stall_s = stall_s
        self._extra = extra
        self._guard = threading.Lock()
        self._pools: dict[str, urllib3.PoolManager] = {}
        """Proxy URL, "" for none → its connections."""

    @contextlib.contextmanager
    def open(
        self,
        method: str,
        url: Url,
        uri: str,
        headers: Mapping[str, str],
        credentials: Mapping[str, str],
    ) -> Iterator["BaseHTTPResponse"]:
        """Open the answer at the end of the redirections; its body is not read. Leaving the context ends it.

        Args:
            method: "GET" or "HEAD".
            url: where to begin.
            uri: the file, as it may be shown.
            headers: sent to every server.
            credentials: headers that only the first URL's server gets.

        Raises:
            SourceUnavailableError: no answer.
            SourceFailedError: too many redirections, or to where none may lead.
        """
        response = self._follow(method, url, uri, headers, credentials)
        try:
            yield response
        finally:
            _end(response, method)

    def _follow(
        self, method: str, first: Url, uri: str, headers: Mapping[str, str], credentials: Mapping[str, str]
    ) -> "BaseHTTPResponse":
        """Return the last answer of a chain of redirections."""
        url = first
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(
                method, url, uri, _sent(headers, credentials if first.trusts(url) else {})
            )
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None:
                return response
            _end(response, method)
            try:
                url = redirected(url, location)
            except SourceFailedError as exc:
                raise SourceFailedError(f"{uri}: {exc}") from None
        raise SourceFailedError(f"{uri}: more than {MAX_REDIRECTS} redirections")

    def _request(self, method: str, url: Url, uri: str, headers: Mapping[str, str]) -> "BaseHTTPResponse":
        """Send one request and read the head of its answer."""
        pool = self._pool(url)
        urllib3_errors = library("urllib3.exceptions", self._extra)
        try:
            return pool.request(
                method, url.text, headers=dict(headers), preload_content=False, redirect=False, retries=False
            )
        except (urllib3_errors.HTTPError, OSError) as exc:
            raise _fault(exc, uri) from None

    def _pool(self, url: Url) -> "urllib3.PoolManager":
        proxy = _proxy_of(url)
        with self._guard:
            pool = self._pools.get(proxy)
            if pool is None:
                pool = self._pools[proxy] = _new_pool(proxy, self._stall_s, self._extra)
        return pool


def chunks_of(response: "BaseHTTPResponse", uri: str) -> Iterator[bytes]:
    """Yield an answer's body as it comes.

    Raises:
        SourceUnavailableError: it broke off, or nothing came for too long.
    """
    errors = library("urllib3.exceptions", "http")
    try:
        yield from response.stream(CHUNK_BYTES, decode_content=False)
    except (errors.HTTPError, OSError) as exc:
        raise _fault(exc, uri) from None


def keep_quiet(*libraries: str) -> None:
    """Keep libraries from logging whole URLs and headers, which they do at DEBUG: those hold signatures."""
    for name in libraries:
        logger = logging.getLogger(name)
        logger.setLevel(max(logger.level, logging.INFO))


def _sent(headers: Mapping[str, str], credentials: Mapping[str, str]) -> dict[str, str]:
    """Return all headers of a request, each once whatever its case."""
    own = {"user-agent": _USER_AGENT}
    given = {name.lower(): value for name, value in (*credentials.items(), *headers.items())}
    return own | given | {"accept-encoding": "identity"}


def _end(response: "BaseHTTPResponse", method: str) -> None:
    """Give the connection back where nothing more comes on it, else close it."""
    if method == "HEAD":
        response.drain_conn()
        response.release_conn()
    response.close()


def _new_pool(proxy: str, stall_s: float, extra: str) -> "urllib3.PoolManager":
    http = library("urllib3", extra)
    keep_quiet("urllib3")
    timeout = http.Timeout(connect=stall_s, read=stall_s)
    if proxy:
        return _proxied(http.ProxyManager, proxy, timeout)
    direct: urllib3.PoolManager = http.PoolManager(maxsize=_CONNECTIONS, timeout=timeout)
    return direct


def _proxied(
    manager: Callable[..., "urllib3.PoolManager"], proxy: str, timeout: object
) -> "urllib3.PoolManager":
    """Return connections by way of a proxy, which may want a user and password of its own."""
    make_headers = library("urllib3.util", "http").make_headers
    parse_url = library("urllib3.util", "http").parse_url
    try:
        auth = parse_url(proxy).auth
        headers = make_headers(proxy_basic_auth=auth) if auth else None
        return manager(proxy, maxsize=_CONNECTIONS, timeout=timeout, proxy_headers=headers)
    except ValueError:
        raise SourceFailedError("the proxy that the environment names is no URL") from None


def _proxy_of(url: Url) -> str:
    """Return the proxy that the environment names for a server, "" for none."""
    host = url.host.strip("[]")
    if proxy_bypass(f"{host}:{url.port}") or proxy_bypass(host):
        return ""
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all") or ""


def _fault(error: Exception, uri: str) -> ModelFileError:
    """Return a failed request or transfer in our words. Certificates do not get better by waiting."""
    errors = library("urllib3.exceptions", "http")
    cause = error.original_error if isinstance(error, errors.ProxyError) else error
    if isinstance(cause, errors.SSLError):
        return SourceFailedError(
            f"{uri}: the server's certificate or its TLS is refused: {_tls_reason(cause)}"
        )
    for kind, text in (
        (errors.NameResolutionError, "the server's name is not known"),
        (errors.ConnectTimeoutError, "the server cannot be reached in time"),
        (errors.ReadTimeoutError, "the server sends nothing any longer"),
        (errors.NewConnectionError, "the server cannot be reached"),
        (errors.IncompleteRead, "the transfer broke off"),
    ):
        if isinstance(cause, kind):
            return SourceUnavailableError(f"{uri}: {text}")
    if isinstance(cause, errors.LocationValueError | errors.LocationParseError):
        return SourceFailedError(f"{uri}: no URL that can be asked")
    return SourceUnavailableError(f"{uri}: the connection broke off")


def _tls_reason(error: Exception) -> str:
    """Return why TLS failed, as the system's library says it: no URL is in that."""
    cause = error.args[0] if error.args and isinstance(error.args[0], Exception) else error
    return str(getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or type(cause).__name__)
