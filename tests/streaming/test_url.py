"""Frames over RTSP from a real server on loopback: ended, started again, stopped in the middle."""

import contextlib
import socket
import ssl
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from stream_servers.certificates import Certificate, make_certificate
from stream_servers.played import Played, play
from stream_servers.rtsp_server import RtspServer, rtsp_servers

from streaming.base import StreamEvent
from streaming.errors import SourceUnavailableError, StreamError
from streaming.reconnect import Backoff
from streaming.settings import DecodeSettings
from streaming.url import UrlSource
from tests.streaming.clips import LEVELS, Clip, encode, number_of

pytest.importorskip("av")

__all__ = ["make_certificate", "rtsp_servers"]  # fixtures of this module, too

Start = Callable[..., RtspServer]

AT_ONCE = Backoff(first_s=0.01, most_s=0.01)
SECRETS = ("geheim", "admin", "sesam")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a clip that loops without a jump in what its frames show: 0.48 s, 100 frames a second."""
    path = tmp_path_factory.mktemp("rtsp") / "clip.mp4"
    path.write_bytes(encode(Clip(frames=LEVELS, fps=100, gop=6)))
    return path


def watch(url: str, *, each: Callable[[Played], None] = lambda played: None, **settings: object) -> Played:
    source = UrlSource(url, DecodeSettings(), backoff=AT_ONCE, **settings)
    played = play(source, each=each)
    told = "".join((str(played.events), *traceback.format_exception(played.error)))
    assert not any(secret in told for secret in SECRETS)
    return played


def until(source: UrlSource, frames: int) -> Callable[[Played], None]:
    """Close a source after so many frames."""
    return lambda played: source.close() if len(played.frames) >= frames else None


def reason(error: StreamError | None) -> str:
    assert isinstance(error, SourceUnavailableError), repr(error)
    return error.reason


def numbers(played: Played) -> list[int]:
    return [number_of(frame.frame_data, frame.height) for frame in played.frames]


def in_order(shown: list[int]) -> bool:
    """Whether each picture is the clip's next one."""
    return all(b == (a + 1) % LEVELS for a, b in pairwise(shown))


def test_a_clip_that_ends(rtsp: Start, clip: Path) -> None:
    played = watch(rtsp(clip).url(), reconnect=False)
    assert played.error is None
    assert played.names == ["started", "frames"]
    assert played.events[0].fields["codec"] == "h264"
    shown = numbers(played)
    assert in_order(shown)
    assert shown[-1] == LEVELS - 1
    times = [frame.timestamp_ms for frame in played.frames]
    assert all(b - a == pytest.approx(10, abs=1) for a, b in pairwise(times))


def test_a_camera_that_goes_on(rtsp: Start, clip: Path) -> None:
    source = UrlSource(rtsp(clip, loop=True).url(), DecodeSettings())
    played = play(source, each=until(source, 100))
    assert played.error is None
    assert played.names == ["started", "frames"]
    assert in_order(numbers(played))
    assert [frame.frame_number for frame in played.frames] == list(range(len(played.frames)))


def test_a_server_that_ends_and_starts_again(rtsp: Start, clip: Path) -> None:
    server = rtsp(clip, loop=True)
    source = UrlSource(server.url(), DecodeSettings(), backoff=AT_ONCE)

    def each(played: Played) -> None:
        if len(played.frames) == 20:
            server.kill()
        if "reconnected" in played.names and played.run == 20:
            source.close()

    def told(event: StreamEvent) -> None:
        if event.name == "reconnecting" and event.fields["attempt"] == 3:
            rtsp(clip, loop=True, port=server.port)

    played = play(source, each=each, told=told)
    assert played.error is None
    names = played.names
    assert names[:5] == ["started", "frames", "reconnecting", "reconnecting", "reconnecting"]
    assert names[-3:] == ["reconnected", "started", "frames"]
    waits = [event.fields for event in played.events if event.name == "reconnecting"]
    assert [fields["reason"] for fields in waits[:3]] == ["interrupted", "unreachable", "unreachable"]
    assert [fields["attempt"] for fields in waits] == list(range(1, len(waits) + 1))
    assert [e.fields for e in played.events if e.name == "reconnected"] == [{"attempt": len(waits)}]
    assert [frame.frame_number for frame in played.frames] == list(range(len(played.frames)))
    times = [frame.timestamp_ms for frame in played.frames]
    assert times == sorted(times)


def test_an_end_is_an_interruption_where_it_connects_again(rtsp: Start, clip: Path) -> None:
    source = UrlSource(rtsp(clip).url(), DecodeSettings(), backoff=AT_ONCE)
    played = play(source, told=lambda event: source.close() if event.name == "reconnecting" else None)
    assert played.error is None
    assert played.names == ["started", "frames", "reconnecting"]
    assert played.events[-1].fields["reason"] == "interrupted"


def test_user_and_password(rtsp: Start, clip: Path) -> None:
    server = rtsp(clip, user="admin", password="geheim")
    assert numbers(watch(server.url(user_info="admin:geheim"), reconnect=False))[-1] == LEVELS - 1
    wrong = watch(server.url(user_info="admin:sesam"))
    assert reason(wrong.error) == "unauthorized"
    assert wrong.things == []
    assert reason(watch(server.url()).error) == "unauthorized"


def test_an_unknown_path_is_final(rtsp: Start, clip: Path) -> None:
    played = watch(rtsp(clip).url("/nothing?key=geheim"))
    assert reason(played.error) == "not_found"
    assert "/nothing" in str(played.error)
    assert played.things == []


def test_a_server_that_falls_silent_in_the_middle(rtsp: Start, clip: Path) -> None:
    server = rtsp(clip, loop=True)
    fell_silent: list[float] = []

    def each(played: Played) -> None:
        if len(played.frames) == 10:
            server.fall_silent()
            fell_silent.append(time.monotonic())

    played = watch(server.url(), each=each, timeout_s=0.4, reconnect=False)
    assert reason(played.error) == "timeout"
    assert len(played.frames) >= 10
    assert time.monotonic() - fell_silent[0] < 1.5


def test_a_port_that_nobody_listens_to_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtsp://admin:geheim@127.0.0.1:{listener.getsockname()[1]}/x"
    source = UrlSource(url, DecodeSettings(), backoff=AT_ONCE)
    played = play(source, told=lambda event: source.close() if event.fields["attempt"] == 4 else None)
    assert played.error is None
    assert [event.fields["reason"] for event in played.events] == ["unreachable"] * 4
    assert "geheim" not in str(played.events)
    assert reason(watch(url, reconnect=False).error) == "unreachable"


@contextlib.contextmanager
def scripted(answer: bytes | None, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serve one answer to every RTSP request, with its CSeq; None says nothing, b"" hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def wrapped(client: socket.socket) -> socket.socket:
        return client if tls is None else tls.wrap_socket(client, server_side=True)

    def serve(client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while request := client.recv(65536):
                sequence = next(line for line in request.split(b"\r\n") if line.startswith(b"CSeq"))
                if answer == b"":
                    return
                if answer is not None:
                    client.sendall(b"RTSP/1.0 " + answer + b"\r\n" + sequence + b"\r\n\r\n")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted.append(wrapped(listener.accept()[0]))
                threading.Thread(target=serve, args=(accepted[-1],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"rtsp{'s' if tls else ''}://admin:geheim@127.0.0.1:{listener.getsockname()[1]}/x?key=sesam"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for client in accepted:
            client.close()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"401 Unauthorized", "unauthorized"),
        (b"403 Forbidden", "unauthorized"),
        (b"404 Not Found", "not_found"),
        (b"453 Not Enough Bandwidth", "refused"),
        (b"461 Unsupported Transport", "refused"),
        (b"503 Service Unavailable", "refused"),
        (b"", "interrupted"),
        (None, "timeout"),
    ],
)
def test_what_a_server_answers(answer: bytes | None, expected: str) -> None:
    with scripted(answer) as url:
        began = time.monotonic()
        played = watch(url, reconnect=False, timeout_s=0.3)
        assert reason(played.error) == expected
        assert "rtsp://127.0.0.1:" in str(played.error)
        assert time.monotonic() - began < 1.5


def test_rtsp_over_tls(certificate: Certificate) -> None:
    with scripted(b"404 Not Found", certificate.context) as url:
        played = watch(url)
    assert reason(played.error) == "not_found"
    assert "rtsps://127.0.0.1:" in str(played.error)


def test_a_server_that_is_busy_is_asked_again() -> None:
    with scripted(b"503 Service Unavailable") as url:
        source = UrlSource(url, DecodeSettings(), backoff=AT_ONCE)
        played = play(source, told=lambda event: source.close() if event.fields["attempt"] == 2 else None)
    assert played.names == ["reconnecting", "reconnecting"]


def test_close_from_another_thread_while_the_server_is_silent() -> None:
    with scripted(None) as url:
        source = UrlSource(url, DecodeSettings(), timeout_s=0.5)
        timer = threading.Timer(0.05, source.close)
        timer.start()
        began = time.monotonic()
        assert play(source) == Played()
        timer.join()
    assert time.monotonic() - began < 1.5
