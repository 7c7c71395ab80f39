"""What of a URL is shown, and which URLs are none."""

import pytest

from streaming.errors import BadStreamError
from streaming.settings import DecodeSettings
from streaming.url import UrlSource
from streaming.url_errors import shown


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("rtsp://admin:geheim@cam.local:8554/live?token=geheim", "rtsp://cam.local:8554/live"),
        ("https://example.org/a/b.mp4?X-Signature=geheim#geheim", "https://example.org/a/b.mp4"),
        ("http://geheim@[::1]:80/x", "http://[::1]:80/x"),
        ("rtsp://admin:ge@heim@10.0.0.7/x", "rtsp://10.0.0.7/x"),
        ("rtsp://10.0.0.7:554/user=admin&password=geheim&channel=1/live", "rtsp://10.0.0.7:554/…/live"),
    ],
)
def test_secrets_are_not_shown(url: str, seen: str) -> None:
    assert shown(url) == seen


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "udp://127.0.0.1:1", "concat:a|b", "/clip.mp4", "", "ftp://u:geheim@host/x"]
)
def test_other_schemes_are_refused(url: str) -> None:
    with pytest.raises(BadStreamError, match="rtsp, rtsps, http, https") as caught:
        UrlSource(url, DecodeSettings())
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp:///nowhere",
        "http://u:geheim@host:99999999/",
        "http://u:geheim@host:port/",
        "http://host/geheim\r\nX-Header: 1",
        "rtsp://ho st/geheim",
        "http://[::1/geheim",
        "http://host:0/geheim",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadStreamError, match="the URL of the stream is none") as caught:
        UrlSource(url, DecodeSettings())
    assert "geheim" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
