"""Frames from the network: RTSP over TCP, HTTP and HTTPS; connects again where that is wanted."""

import ssl
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType

from streaming.base import Notify, StreamEvent, VideoFrame
from streaming.errors import SourceUnavailableError, StreamError
from streaming.libraries import library
from streaming.reconnect import Attempts, Backoff, Timeline
from streaming.settings import Access, DecodeSettings
from streaming.url_errors import Failed, read_url, unavailable, url_error

_WEB = ("http", "https", "tcp", "tls", "httpproxy", "crypto")
_PROTOCOLS = MappingProxyType(
    {
        "rtsp": ("rtsp", "rtp", "tcp"),
        "rtsps": ("rtsp", "rtsps", "rtp", "tcp", "tls"),
        "http": _WEB,
        "https": _WEB,
    }
)
"""What each scheme needs; HTTP redirects to HTTPS, and an HLS playlist may have encrypted segments."""

_HTTP_OPTIONS = {"multiple_requests": "1"}
"""One connection for all requests: with one for each, libavformat 62 loses the ends of some files."""

_FINAL_AT_FIRST = frozenset({"not_found", "unauthorized"})
"""A wrong URL stays wrong; later the same answers come from a server that has not yet started up again."""


class UrlSource:
    """A FrameSource of a URL.

    Of HTTP: ranges are used where the server has them; the end of an answer that says no length is taken for
    an interruption, because it cannot be told from one. The certificate is checked for https, not for rtsps
    (cameras sign theirs themselves) and not for the segments of HLS.
    """

    def __init__(
        self,
        url: str,
        settings: DecodeSettings,
        *,
        reconnect: bool | None = None,
        timeout_s: float = 10.0,
        backoff: Backoff = Backoff(),  # noqa: B008 - frozen
    ) -> None:
        """Create it; nothing is opened before `frames`.

        Args:
            url: rtsp, rtsps, http or https; may hold user and password, which are told to nobody else.
            settings: how to decode; RTSP is always live.
            reconnect: connect again after a failure, until `close`. An end of RTSP is one, too; a file of
                HTTP begins anew. None: for RTSP alone.
            timeout_s: seconds that a server may take to answer and be silent.
            backoff: the waits between connections.

        Raises:
            BadStreamError: no URL that could be opened.
        """
        self._scheme = read_url(url).scheme
        self._rtsp = self._scheme.startswith("rtsp")
        self._url = self._scheme + url[len(self._scheme) :]  # libavformat knows them in small letters alone
        self._settings = replace(settings, live=True) if self._rtsp else settings
        self._reconnect = self._rtsp if reconnect is None else reconnect
        self._timeout_s = timeout_s
        self._backoff = backoff
        self._closed = threading.Event()

    def close(self) -> None:
        """Make `frames` end: at once where it waits to connect again, with the next packet where it reads.

        A read that blocks ends within the time-out, the look-up of a host's name when the system gives up.
        """
        self._closed.set()

    def frames(self, notify: Notify) -> Generator[VideoFrame, None, None]:
        """Connect and give the frames, with events "reconnecting" and "reconnected" between them.

        Raises:
            SourceUnavailableError: no connection and no other attempt.
            StreamError: as `decode_video`.
        """
        attempts = Attempts(self._backoff)
        timeline = Timeline(self._backoff.clock, steady=self._rtsp)
        ever_opened = False
        while not self._closed.is_set():
            connection = self._connection(notify, attempts.count)
            timeline.connected()
            with closing(connection.frames()) as frames:
                for frame in frames:
                    attempts.frame()
                    yield timeline.placed(frame)
            ever_opened = ever_opened or connection.opened
            failure = connection.failure
            if failure is None and self._rtsp and self._reconnect:
                failure = unavailable("interrupted", connection.failed(), "the server ended it")
            if self._closed.is_set() or failure is None:
                return
            if not self._may_retry(failure, ever_opened):
                raise failure
            self._wait(failure, attempts, notify)

    def _connection(self, notify: Notify, attempt: int) -> "_Connection":
        stopped = self._closed.is_set
        access = _access(self._scheme, self._timeout_s)
        return _Connection(self._url, self._settings, access, notify, stopped, attempt, self._timeout_s)

    def _may_retry(self, failure: StreamError, ever_opened: bool) -> bool:
        if not self._reconnect or not isinstance(failure, SourceUnavailableError):
            return False
        return ever_opened or failure.reason not in _FINAL_AT_FIRST

    def _wait(self, failure: StreamError, attempts: Attempts, notify: Notify) -> None:
        assert isinstance(failure, SourceUnavailableError)
        delay_s = attempts.next_delay_s()
        told = {
            "attempt": attempts.count,
            "inMs": round(delay_s * 1e3),
            "reason": failure.reason,
            "error": str(failure),
        }
        notify(StreamEvent("reconnecting", told))
        self._closed.wait(delay_s)


class _Connection:
    """One time that the URL is opened and read; of one thread."""

    def __init__(
        self,
        url: str,
        settings: DecodeSettings,
        access: Access,
        notify: Notify,
        stopped: Callable[[], bool],
        attempt: int,
        timeout_s: float,
    ) -> None:
        self._url = url
        self._settings = settings
        self._access = access
        self._notify = notify
        self._stopped = stopped
        self._attempt = attempt
        self._timeout_s = timeout_s
        self._alive_s = time.monotonic()
        self._silent = False
        self.opened = False
        """Whether the container became known."""
        self.failure: StreamError | None = None
        """What ended it before its end."""

    def frames(self) -> Generator[VideoFrame, None, None]:
        """Give the frames, numbers from 0; `failure` says afterwards how it ended."""
        decode_video = _decoding()
        raised: StreamError | None = None
        try:
            frames = decode_video(self._url, self._settings, self._access, self._told, self._ends)
            with closing(frames):
                for frame in frames:
                    yield frame
                    self._alive_s = time.monotonic()  # whoever takes frames may be slower than the server
        except StreamError as error:
            raised = error
        if raised is not None:
            self.failure = url_error(raised, self.failed())
            # The library's own error has the whole URL in it, and logs show the causes of an error.
            self.failure.__cause__ = self.failure.__context__ = None
        elif self._silent:
            self.failure = unavailable("timeout", self.failed())

    def failed(self) -> Failed:
        """Return how far this came."""
        return Failed(self._url, self.opened, time.monotonic() - self._alive_s, self._timeout_s)

    def _ends(self) -> bool:
        """Asked after each packet.

        At a time-out libavformat first gives what it holds of the last packet, and then waits as long again:
        what comes that late is the end.
        """
        now = time.monotonic()
        self._silent |= self.opened and now - self._alive_s >= self._timeout_s
        self._alive_s = now
        return self._silent or self._stopped()

    def _told(self, event: StreamEvent) -> None:
        if event.name == "started":
            if self._attempt and not self.opened:
                self._notify(StreamEvent("reconnected", {"attempt": self._attempt}))
            self.opened = True
            self._alive_s = time.monotonic()
        self._notify(event)


def _access(scheme: str, timeout_s: float) -> Access:
    options = {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {**_HTTP_OPTIONS, **_verification()}
    return Access(_PROTOCOLS[scheme], options, open_timeout_s=timeout_s, read_timeout_s=timeout_s)


def _verification() -> dict[str, str]:
    """Return how libavformat checks a server's certificate: by what this system trusts."""
    trusted = ssl.get_default_verify_paths().cafile
    return {"tls_verify": "1", **({"ca_file": trusted} if trusted else {})}


def _decoding() -> Callable[..., Generator[VideoFrame, None, None]]:
    """Return `decode_video`, whose library is loaded only now.

    Raises:
        UnsupportedStreamError: it is not installed.
    """
    library("av", "video")
    from streaming.video import decode_video  # noqa: PLC0415 - loads PyAV

    return decode_video
