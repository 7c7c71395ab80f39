"""Frames over HTTP: from real answers of a server on loopback, whole ones and broken ones."""

import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from model_servers.web import Answer, Request, WebServer, file_answer
from stream_servers.certificates import Certificate, make_certificate
from stream_servers.played import Played, play

from streaming.errors import BrokenStreamError, SourceUnavailableError, StreamError, UnsupportedStreamError
from streaming.reconnect import Backoff
from streaming.settings import DecodeSettings
from streaming.url import UrlSource
from tests.streaming.clips import BY_NAME, Clip, encode, number_of

pytest.importorskip("av")

__all__ = ["make_certificate"]  # a fixture of this module, too

FRAMES = 30
CLIPS = BY_NAME | {"long": Clip(container="matroska", frames=400)}
AT_ONCE = Backoff(first_s=0.001, most_s=0.001)
SECRETS = ("geheim", "sesam", "admin")

Serve = Callable[[Callable[[Request], Answer]], str]


@cache
def bytes_of(clip: str) -> bytes:
    return encode(CLIPS[clip])


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server that answers by a function; returns a URL with secrets in it."""
    servers: list[WebServer] = []

    def start(answer: Callable[[Request], Answer]) -> str:
        servers.append(WebServer(answer))
        return servers[-1].url.replace("://", "://admin:geheim@") + "/video?key=sesam"

    yield start
    for server in servers:
        server.close()


def whole(content: bytes) -> Callable[[Request], Answer]:
    return lambda request: file_answer(request, content)


def fetch(url: str, **settings: object) -> Played:
    played = play(UrlSource(url, DecodeSettings(), **settings))
    told = "".join((str(played.events), *traceback.format_exception(played.error)))
    assert not any(secret in told for secret in SECRETS)
    return played


def reason(error: StreamError | None) -> str:
    assert isinstance(error, SourceUnavailableError), repr(error)
    return error.reason


def numbers(played: Played) -> list[int]:
    return [number_of(frame.frame_data, frame.height) for frame in played.frames]


@pytest.mark.parametrize("clip", list(BY_NAME))
def test_a_file_with_ranges(serve: Serve, clip: str) -> None:
    played = fetch(serve(whole(bytes_of(clip))))
    assert played.error is None
    assert played.names == ["started", "frames"]
    assert numbers(played) == list(range(FRAMES))
    assert [frame.frame_number for frame in played.frames] == list(range(FRAMES))


def test_a_server_that_hangs_up_after_each_answer_loses_nothing(serve: Serve) -> None:
    def answer(request: Request) -> Answer:
        there = file_answer(request, bytes_of("index_at_end"))
        there.headers["Connection"] = "close"
        return there

    assert numbers(fetch(serve(answer))) == list(range(FRAMES))


def test_a_file_without_ranges(serve: Serve) -> None:
    played = fetch(serve(lambda request: Answer(200, {}, bytes_of("faststart"), chunked=True)))
    assert played.error is None
    assert numbers(played) == list(range(FRAMES))


def test_a_live_answer_gives_frames_while_it_goes_on(serve: Serve) -> None:
    content = bytes_of("long")
    slow = Answer(200, {}, content, chunked=True, piece=len(content) // 20, stall_after=len(content) // 2)
    source = UrlSource(serve(lambda request: slow), DecodeSettings(), timeout_s=5)
    frames = source.frames(lambda event: None)
    assert [next(frames).frame_number for _ in range(20)] == list(range(20))  # and its end never comes
    source.close()
    frames.close()


def test_redirections_are_followed(serve: Serve) -> None:
    there = serve(whole(bytes_of("faststart")))
    played = fetch(serve(lambda request: Answer(302, {"Location": there})))
    assert numbers(played) == list(range(FRAMES))


def test_a_redirection_to_a_file_is_refused(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(bytes_of("faststart"))
    played = fetch(serve(lambda request: Answer(302, {"Location": f"file://{path}"})))
    assert not played.frames
    assert reason(played.error) == "refused"


def playlist(segment: str, content: bytes) -> Callable[[Request], Answer]:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{segment}\n#EXT-X-ENDLIST\n"
    listed = Answer(200, {"Content-Type": "application/vnd.apple.mpegurl"}, text.encode())
    return lambda request: file_answer(request, content) if request.target == "/s.ts" else listed


def test_a_playlist_of_segments(serve: Serve) -> None:
    played = fetch(serve(playlist("s.ts", bytes_of("transport"))))
    assert played.error is None
    assert numbers(played) == list(range(FRAMES))


def test_a_playlist_does_not_open_files(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "s.ts"
    path.write_bytes(bytes_of("transport"))
    played = fetch(serve(playlist(f"file://{path}", b"")))
    assert played.error is not None
    assert not played.frames


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "unauthorized"), (403, "unauthorized"), (404, "not_found"), (410, "refused"), (503, "refused")],
)
def test_a_refusal_is_final(serve: Serve, status: int, expected: str) -> None:
    asked: list[Request] = []

    def answer(request: Request) -> Answer:
        asked.append(request)
        return Answer(status)

    played = fetch(serve(answer))
    assert reason(played.error) == expected
    assert "http://127.0.0.1" in str(played.error)
    assert played.things == []
    # Basic authentication is tried once more after a challenge.
    assert len(asked) <= 2


def test_the_password_of_the_url_is_used(serve: Serve) -> None:
    def answer(request: Request) -> Answer:
        if request.headers.get("authorization") != "Basic YWRtaW46Z2VoZWlt":
            return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})
        return file_answer(request, bytes_of("faststart"))

    assert numbers(fetch(serve(answer))) == list(range(FRAMES))


def test_a_server_that_is_away() -> None:
    server = WebServer(lambda request: Answer())
    url = server.url
    server.close()
    assert reason(fetch(f"{url}/x").error) == "unreachable"


def test_a_host_that_nobody_knows() -> None:
    assert reason(fetch(f"http://{'x' * 64}.invalid/x").error) == "unreachable"


@pytest.mark.parametrize("after", [0, 500])
def test_a_server_that_falls_silent_before_the_video_begins(serve: Serve, after: int) -> None:
    content = bytes_of("index_at_end")
    began = time.monotonic()
    played = fetch(serve(lambda request: Answer(200, {}, content, stall_after=after)), timeout_s=0.3)
    assert reason(played.error) == "timeout"
    assert time.monotonic() - began < 2


def test_a_server_that_falls_silent_in_the_middle(serve: Serve) -> None:
    content = bytes_of("long")
    answer = Answer(200, {}, content, stall_after=len(content) * 3 // 4)
    played = fetch(serve(lambda request: answer), timeout_s=0.3)
    assert reason(played.error) == "timeout"
    assert 200 < len(played.frames) < 400


def test_a_body_that_is_cut_off_gives_its_frames_first(serve: Serve) -> None:
    content = bytes_of("long")
    answer = Answer(200, {}, content, stop_after=len(content) * 3 // 4)
    played = fetch(serve(lambda request: answer))
    assert reason(played.error) == "interrupted"
    assert 200 < len(played.frames) < 400


def test_what_is_no_video_is_final_with_reconnection_too(serve: Serve) -> None:
    played = fetch(serve(lambda request: Answer(200, {}, b"<html>hello</html>" * 50)), reconnect=True)
    assert isinstance(played.error, BrokenStreamError | UnsupportedStreamError)
    assert played.things == []


def test_with_reconnection_the_file_begins_anew_and_its_numbers_go_on(serve: Serve) -> None:
    content = bytes_of("long")
    answers = [Answer(200, {}, content, stop_after=len(content) * 3 // 4), Answer(503), Answer(404)]

    def answer(request: Request) -> Answer:
        return answers.pop(0) if answers else file_answer(request, content)

    played = fetch(serve(answer), reconnect=True, backoff=AT_ONCE)
    assert played.error is None
    tries = ["reconnecting"] * 3
    assert played.names == ["started", "frames", *tries, "reconnected", "started", "frames"]
    told = [event.fields for event in played.events if event.name.startswith("reconnect")]
    assert [fields["attempt"] for fields in told] == [1, 2, 3, 3]
    assert [fields.get("reason") for fields in told] == ["interrupted", "refused", "not_found", None]
    got = [frame.frame_number for frame in played.frames]
    assert got == list(range(len(got)))
    assert numbers(played)[-400:] == [n % 48 for n in range(400)]
    times = [frame.timestamp_ms for frame in played.frames]
    assert times == sorted(times)


def test_close_wakes_a_source_that_waits_to_connect_again(serve: Serve) -> None:
    source = UrlSource(
        serve(lambda request: Answer(503)),
        DecodeSettings(),
        reconnect=True,
        backoff=Backoff(first_s=600, most_s=600, random=lambda: 0.9),
    )
    began = time.monotonic()
    played = play(source, told=lambda event: threading.Timer(0.05, source.close).start())
    assert played.error is None
    assert played.names == ["reconnecting"]
    assert played.events[0].fields["inMs"] == 540_000
    assert time.monotonic() - began < 2


def test_a_source_that_is_closed_first_opens_nothing(serve: Serve) -> None:
    asked: list[Request] = []
    source = UrlSource(serve(lambda request: asked.append(request) or Answer(404)), DecodeSettings())
    source.close()
    assert play(source) == Played()
    assert not asked


def test_only_a_trusted_certificate_will_do(
    serve: Serve, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = WebServer(whole(bytes_of("faststart")), tls=certificate.context)
    try:
        assert reason(fetch(f"{server.url}/x").error) == "unreachable"
        redirected = serve(lambda request: Answer(302, {"Location": f"{server.url}/x"}))
        assert reason(fetch(redirected).error) == "unreachable"
        assert not server.requests
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        assert numbers(fetch(f"{server.url}/x")) == list(range(FRAMES))
        assert numbers(fetch(redirected)) == list(range(FRAMES))
    finally:
        server.close()


def test_nothing_is_written_to_the_terminal(serve: Serve, capfd: pytest.CaptureFixture[str]) -> None:
    fetch(serve(lambda request: Answer(401)))
    fetch(serve(lambda request: Answer(200, {}, bytes_of("matroska"), stop_after=2000)))
    assert capfd.readouterr() == ("", "")
