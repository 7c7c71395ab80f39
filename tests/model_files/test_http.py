"""Files over HTTP from a server on loopback that also does what servers should not."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from model_servers.http import CONTENT, ETAG, Serve, always, good, servers, source, take
from model_servers.web import Answer, Request, file_answer, http_date, serving

from model_files.errors import MissingFileError, SourceFailedError, SourceUnavailableError
from model_files.http_answers import error_of, retry_after_s
from model_files.http_client import CHUNK_BYTES
from model_files.source import RemoteStat


@pytest.fixture
def serve() -> Iterator[Serve]:
    with servers() as start:
        yield start


def test_a_file(serve: Serve) -> None:
    server, http = serve(good), source()
    file = http.locate(f"{server.url}/a/m.onnx")
    assert http.stat(file) == RemoteStat(size=len(CONTENT), validator=ETAG)
    with http.fetch(file) as transfer:
        assert transfer.stat == RemoteStat(size=len(CONTENT), validator=ETAG)
        assert transfer.offset == 0
        assert b"".join(transfer.chunks) == CONTENT
    assert [request.headers["accept-encoding"] for request in server.requests] == ["identity", "identity"]
    assert http.list_files(file) is None
    assert http.revalidates


def test_an_empty_file(serve: Serve) -> None:
    server, http = serve(lambda request: file_answer(request, b"")), source()
    assert take(http, http.locate(f"{server.url}/m")) == (0, b"")


def test_a_connection_serves_again(serve: Serve) -> None:
    server, http = serve(good), source()
    for name in ("m.xml", "m.bin", "m.json"):
        file = http.locate(f"{server.url}/{name}")
        http.stat(file)
        take(http, file)
    assert server.connections == 1


def test_going_on_where_it_broke_off(serve: Serve) -> None:
    server, http = serve(good), source()
    file = http.locate(f"{server.url}/m.onnx")
    assert take(http, file, 1000, ETAG) == (1000, CONTENT[1000:])
    assert server.requests[-1].headers["range"] == "bytes=1000-"
    assert server.requests[-1].headers["if-range"] == ETAG


@pytest.mark.parametrize("validator", [None, 'W/"weak"', "Mon, 01 Jan 2024 00:00:00 GMT"])
def test_without_a_strong_etag_it_begins_anew(serve: Serve, validator: str | None) -> None:
    server, http = serve(good), source()
    assert take(http, http.locate(f"{server.url}/m"), 1000, validator) == (0, CONTENT)
    assert "range" not in server.requests[-1].headers


def test_another_content_begins_anew(serve: Serve) -> None:
    server, http = serve(good), source()
    assert take(http, http.locate(f"{server.url}/m"), 1000, '"of an older one"') == (0, CONTENT)
    assert len(server.requests) == 1


def test_a_server_that_ignores_if_range_does_not_mix_two_contents(serve: Serve) -> None:
    def careless(request: Request) -> Answer:
        headers = {name: value for name, value in request.headers.items() if name != "if-range"}
        return file_answer(Request(request.method, request.target, headers), CONTENT)

    server, http = serve(careless), source()
    assert take(http, http.locate(f"{server.url}/m"), 1000, '"of an older one"') == (0, CONTENT)


def test_more_than_there_is_begins_anew(serve: Serve) -> None:
    server, http = serve(good), source()
    assert take(http, http.locate(f"{server.url}/m"), len(CONTENT) + 5, ETAG) == (0, CONTENT)
    assert take(http, http.locate(f"{server.url}/m"), len(CONTENT), ETAG) == (0, CONTENT)


def test_a_server_without_ranges_begins_anew(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {"ETag": ETAG}, CONTENT))), source()
    assert take(http, http.locate(f"{server.url}/m"), 1000, ETAG) == (0, CONTENT)


@pytest.mark.parametrize(
    ("told", "body"),
    [
        ("bytes 999-511999/512000", CONTENT[999:]),
        ("bytes 1000-511998/512000", CONTENT[1000:-1]),
        ("bytes 1000-511999/*", CONTENT[1000:]),
        ("bytes 1000-511999/512000", CONTENT[1001:]),
        ("", CONTENT[1000:]),
        ("nonsense", CONTENT[1000:]),
    ],
)
def test_another_part_than_asked_for_is_refused(serve: Serve, told: str, body: bytes) -> None:
    server, http = serve(always(Answer(206, {"ETag": ETAG, "Content-Range": told}, body))), source()
    with pytest.raises(SourceFailedError, match="asked for the rest from 1000"):
        take(http, http.locate(f"{server.url}/m"), 1000, ETAG)


def test_a_part_that_nobody_asked_for_is_refused(serve: Serve) -> None:
    server, http = serve(always(Answer(206, {"Content-Range": "bytes 0-9/99"}, CONTENT[:10]))), source()
    with pytest.raises(SourceFailedError, match="206"):
        take(http, http.locate(f"{server.url}/m"))


@pytest.mark.parametrize("chunked", [False, True])
def test_a_transfer_that_is_cut_says_so_and_keeps_what_came(serve: Serve, *, chunked: bool) -> None:
    content = CONTENT * 8
    cut = Answer(200, {"ETag": ETAG}, content, stop_after=CHUNK_BYTES + 4321, chunked=chunked)
    server, http = serve(always(cut)), source()
    came = bytearray()
    with http.fetch(http.locate(f"{server.url}/m")) as transfer, pytest.raises(SourceUnavailableError):  # noqa: PT012
        for chunk in transfer.chunks:
            came += chunk
    assert came == content[: len(came)]
    assert CHUNK_BYTES <= len(came) < len(content)


def test_pieces_of_told_lengths_need_no_length(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {}, CONTENT, chunked=True))), source()
    file = http.locate(f"{server.url}/m")
    with http.fetch(file) as transfer:
        assert transfer.stat == RemoteStat()
        assert b"".join(transfer.chunks) == CONTENT


def test_a_server_that_stalls_is_left_after_the_stall_time(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {}, CONTENT, stall_after=70_000))), source(stall_s=0.3)
    with pytest.raises(SourceUnavailableError, match="sends nothing any longer"):
        take(http, http.locate(f"{server.url}/m"))


def test_a_slow_transfer_is_no_stall(serve: Serve) -> None:
    """Three times the stall time in all, and never that long without a byte."""
    slow = Answer(200, {}, CONTENT[:6000], piece=1000, pause_s=0.2)
    server, http = serve(always(slow)), source(stall_s=0.4)
    assert take(http, http.locate(f"{server.url}/m")) == (0, CONTENT[:6000])


def test_an_end_that_nobody_can_tell_from_a_cut_is_refused(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {}, CONTENT, no_length=True))), source()
    with pytest.raises(SourceFailedError, match="how long"):
        take(http, http.locate(f"{server.url}/m"))


def test_nobody_listens() -> None:
    with serving(good) as server:
        url = server.url
    http = source(stall_s=1)
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        http.stat(http.locate(f"{url}/m"))


def test_a_name_that_is_not_known() -> None:
    http = source(stall_s=2)
    with pytest.raises(SourceUnavailableError, match=r"name is not known|cannot be reached"):
        http.stat(http.locate("http://no-such-host.invalid/m"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, MissingFileError),
        (410, MissingFileError),
        (408, SourceUnavailableError),
        (429, SourceUnavailableError),
        (500, SourceUnavailableError),
        (503, SourceUnavailableError),
        (401, SourceFailedError),
        (403, SourceFailedError),
        (418, SourceFailedError),
        (304, SourceFailedError),
    ],
)
def test_what_a_status_means(serve: Serve, status: int, kind: type[Exception]) -> None:
    server, http = serve(always(Answer(status))), source()
    file = http.locate(f"{server.url}/m")
    with pytest.raises(kind, match=str(status)) as caught:
        take(http, file)
    assert type(caught.value) is kind
    with pytest.raises(kind, match=str(status)):
        http.stat(file)


def test_when_to_ask_again() -> None:
    now = datetime.now(UTC)
    late = error_of(503, {"Retry-After": "7"}, "m", now)
    assert isinstance(late, SourceUnavailableError)
    assert late.retry_after_s == 7
    assert 4 < (retry_after_s({"Retry-After": http_date(5.5)}, now) or 0) < 7
    assert retry_after_s({"Retry-After": http_date(-60)}, now) == 0
    assert retry_after_s({"Retry-After": "9" * 30}, now) == 3600
    for nothing in ({}, {"Retry-After": "soon"}, {"Retry-After": "-1"}, {"Retry-After": ""}):
        assert retry_after_s(nothing, now) is None
    assert retry_after_s({"Retry-After": "Mon, 01 Jan 2024 00:00:00 -0000"}, now + timedelta()) == 0


@pytest.mark.parametrize("status", [400, 403, 405, 501])
def test_a_server_that_answers_get_alone(serve: Serve, status: int) -> None:
    """As a link does that is signed for GET."""
    server = serve(lambda request: Answer(status) if request.method == "HEAD" else good(request))
    http = source()
    assert http.stat(http.locate(f"{server.url}/m")) == RemoteStat(size=len(CONTENT), validator=ETAG)
    assert server.requests[-1].headers["range"] == "bytes=0-0"


def test_a_server_that_answers_get_alone_and_has_an_empty_file(serve: Serve) -> None:
    server = serve(lambda request: Answer(403) if request.method == "HEAD" else file_answer(request, b""))
    http = source()
    assert http.stat(http.locate(f"{server.url}/m")).size == 0


def test_the_date_of_the_last_change_tells_of_another_content(serve: Serve) -> None:
    date = http_date(0)
    server, http = serve(always(Answer(200, {"Last-Modified": date}, CONTENT))), source()
    assert http.stat(http.locate(f"{server.url}/m")).validator == date


def test_bytes_that_are_packed_are_not_the_file(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {"Content-Encoding": "gzip"}, CONTENT))), source()
    with pytest.raises(SourceFailedError, match="gzip"):
        take(http, http.locate(f"{server.url}/m"))


def test_a_length_that_is_none(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {"Content-Length": "many"}, b""))), source()
    with pytest.raises(SourceFailedError, match="length"):
        take(http, http.locate(f"{server.url}/m"))


def test_many_at_once(serve: Serve) -> None:
    server, http = serve(good), source()
    came: list[tuple[int, bytes]] = []
    threads = [
        threading.Thread(target=lambda n=n: came.append(take(http, http.locate(f"{server.url}/m{n}"))))
        for n in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert came == [(0, CONTENT)] * 12


def test_leaving_early_ends_the_transfer(serve: Serve) -> None:
    server, http = serve(always(Answer(200, {}, CONTENT * 50))), source()
    file = http.locate(f"{server.url}/m")
    with http.fetch(file) as transfer:
        assert next(transfer.chunks)
    assert take(http, file)[1] == CONTENT * 50
