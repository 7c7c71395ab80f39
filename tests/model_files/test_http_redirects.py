"""Where requests go by redirections and proxies, and what is sent and shown on the way."""

import logging
from collections.abc import Iterator

import pytest
from model_servers.http import CONTENT, ETAG, Serve, always, good, servers, source, take
from model_servers.web import Answer, serving

from model_files.errors import SourceFailedError, SourceUnavailableError
from model_files.http_client import MAX_REDIRECTS
from model_files.source import RemoteFile


@pytest.fixture
def serve() -> Iterator[Serve]:
    with servers() as start:
        yield start


def test_a_redirection_is_followed_and_credentials_stay_at_home(serve: Serve) -> None:
    cdn = serve(good, host="127.0.0.2")
    server = serve(always(Answer(302, {"Location": f"{cdn.url}/blob?signature=s"})))
    http = source(Authorization="Bearer word", **{"X-Key": "word"})
    file = http.locate(f"{server.url}/m")
    assert take(http, file) == (0, CONTENT)
    assert http.stat(file).size == len(CONTENT)
    assert all(request.headers["authorization"] == "Bearer word" for request in server.requests)
    assert all(request.headers["x-key"] == "word" for request in server.requests)
    for request in cdn.requests:
        assert request.target == "/blob?signature=s"
        assert not {"authorization", "x-key"} & set(request.headers)


def test_credentials_of_the_reference_stay_at_home(serve: Serve) -> None:
    cdn = serve(good, host="127.0.0.2")
    server = serve(always(Answer(307, {"Location": f"{cdn.url}/m"})))
    http = source()
    take(http, http.locate(server.url.replace("//", "//me:word@") + "/m"))
    assert server.requests[-1].headers["authorization"] == "Basic bWU6d29yZA=="
    assert "authorization" not in cdn.requests[-1].headers


def test_another_port_of_the_host_is_another_server(serve: Serve) -> None:
    other = serve(good)
    server = serve(always(Answer(302, {"Location": f"{other.url}/m"})))
    http = source(Authorization="Bearer word")
    take(http, http.locate(f"{server.url}/m"))
    assert "authorization" not in other.requests[-1].headers


def test_a_resumed_request_keeps_its_range_when_redirected(serve: Serve) -> None:
    cdn = serve(good, host="127.0.0.2")
    server = serve(always(Answer(302, {"Location": f"{cdn.url}/m"})))
    http = source()
    assert take(http, http.locate(f"{server.url}/m"), 1000, ETAG) == (1000, CONTENT[1000:])


def test_redirections_without_end(serve: Serve) -> None:
    server, http = serve(always(Answer(302, {"Location": "/again"}))), source()
    with pytest.raises(SourceFailedError, match="redirections"):
        take(http, http.locate(f"{server.url}/m"))
    assert len(server.requests) == MAX_REDIRECTS + 1


def test_a_redirection_to_a_file_of_this_machine(serve: Serve) -> None:
    server, http = serve(always(Answer(302, {"Location": "file:///etc/passwd"}))), source()
    with pytest.raises(SourceFailedError, match="redirects"):
        take(http, http.locate(f"{server.url}/m"))


def test_a_query_is_sent_with_the_main_file_and_shown_nowhere(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server, http = serve(lambda request: good(request) if "sign" in request.target else Answer(403)), source()
    main = http.locate(server.url.replace("//", "//me:word@") + "/a/m.xml?sig=sign")
    beside = RemoteFile(main.scheme, main.place, main.model_id, "m.bin", main.revision)
    assert take(http, main) == (0, CONTENT)
    with pytest.raises(SourceFailedError) as refused:
        take(http, beside)
    assert server.asked("GET")[-1].target == "/a/m.bin"
    for text in (caplog.text, str(refused.value), main.uri):
        assert "sign" not in text
        assert "word" not in text


def test_faults_of_the_network_show_no_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(good) as server:
        url = server.url
    http = source(stall_s=1)
    with pytest.raises(SourceUnavailableError) as caught:
        take(http, http.locate(f"{url}/m?sig=sign"))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "sign" not in str(caught.value) + caplog.text


def test_a_proxy_of_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(good)
    monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:word@"))
    monkeypatch.setenv("no_proxy", "127.0.0.9")
    http = source()
    assert take(http, http.locate("http://models.invalid/m.onnx")) == (0, CONTENT)
    assert proxy.requests[-1].target == "http://models.invalid/m.onnx"
    assert proxy.requests[-1].headers["proxy-authorization"] == "Basic bWU6d29yZA=="
    monkeypatch.setenv("no_proxy", "models.invalid")
    with pytest.raises(SourceUnavailableError):
        take(http, http.locate("http://models.invalid/m.onnx"))
