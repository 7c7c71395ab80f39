"""URLs as references: names, what is secret in them, and where redirections may lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_files.errors import InvalidReferenceError, ModelFileError, SourceFailedError
from model_files.http_urls import Url, locate, redirected, url_of
from model_files.source import RemoteFile


@pytest.mark.parametrize(
    ("uri", "place", "model_id", "path", "target"),
    [
        ("https://host/a/b/m.onnx", "host", "a/b", "m.onnx", "/a/b/m.onnx"),
        ("HTTPS://Host:443/m.onnx", "host", "", "m.onnx", "/m.onnx"),
        ("http://host:8080/m.onnx", "host:8080", "", "m.onnx", "/m.onnx"),
        ("https://[::1]:8080/m.onnx", "[::1]:8080", "", "m.onnx", "/m.onnx"),
        ("https://host/a%20b/m%2B1.onnx", "host", "a b", "m+1.onnx", "/a%20b/m%2B1.onnx"),
        ("https://host/m.onnx?X-Amz-Signature=s", "host", "", "m.onnx", "/m.onnx?X-Amz-Signature=s"),
        ("https://user:word@host/m.onnx", "host", "", "m.onnx", "/m.onnx"),
        ("https://host/modèle.onnx", "host", "", "modèle.onnx", "/mod%C3%A8le.onnx"),
    ],
)
def test_what_a_url_names(uri: str, place: str, model_id: str, path: str, target: str) -> None:
    file = locate(uri)
    assert (file.place, file.model_id, file.path, url_of(file).target) == (place, model_id, path, target)


@pytest.mark.parametrize(
    "uri",
    [
        "https://host",
        "https://host/",
        "https://host/folder/",
        "https:///m.onnx",
        "https://host:99999/m.onnx",
        "https://host:0/m.onnx",
        "https://[host/m.onnx",
        "https://host/../m.onnx",
        "https://host/a/%2e%2e/m.onnx",
        "https://host/a%2Fb",
        "https://host/a//m.onnx",
        "https://host/a%5C..%5Cm.onnx",
        "https://host/m.onnx%00",
        "https://host/m%FF.onnx",
        "https://host/m.onnx#part",
    ],
)
def test_what_is_no_url_of_a_file(uri: str) -> None:
    with pytest.raises(InvalidReferenceError):
        locate(uri)


def test_secrets_are_in_nothing_that_is_shown() -> None:
    file = locate("https://user:word@host/m.onnx?X-Amz-Signature=sign&id=7")
    for text in (file.uri, repr(file), str(file), repr(url_of(file))):
        assert not any(secret in text for secret in ("user", "word", "sign", "id=7"))


def test_a_faulty_reference_is_refused_without_its_secrets() -> None:
    for uri in (
        "https://user:word@host/?sig=sign",
        "https://user:word@host/a//b?sig=sign",
        "https://user:word@[host/m?sig=sign",
        "https://user:word@host/m.onnx#sign",
    ):
        with pytest.raises(InvalidReferenceError) as caught:
            locate(uri)
        assert "word" not in str(caught.value)
        assert "sign" not in str(caught.value)


def test_a_link_that_is_signed_anew_is_the_same_file_and_another_id_is_not() -> None:
    def key(query: str) -> tuple[str, str | None]:
        file = locate(f"https://host/m.onnx?{query}")
        return file.uri, file.revision

    assert key("X-Amz-Signature=a&X-Amz-Date=1") == key("X-Amz-Signature=b&X-Amz-Date=2") == key("sig=z")
    assert key("id=1&sig=a") == key("sig=b&id=1")
    assert key("id=1") != key("id=2")
    assert key("id=1") != key("")


def test_files_beside_the_main_file_are_asked_for_without_its_query() -> None:
    main = locate("https://user:word@host/a/m.xml?sig=s")
    beside = RemoteFile(main.scheme, main.place, main.model_id, "m.bin", main.revision)
    assert url_of(beside).target == "/a/m.bin"


@given(st.text(max_size=40))
def test_whatever_is_written_is_a_file_of_that_host_or_refused(text: str) -> None:
    try:
        file = locate(f"https://host/{text}")
    except InvalidReferenceError:
        return
    url = url_of(file)
    assert url.place == "host"
    assert url.target.startswith("/")
    assert url.target.isascii()
    assert ".." not in file.path.split("/")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/other", "https://host/other"),
        ("beside?x=1", "https://host/a/beside?x=1"),
        ("//cdn/m", "https://cdn/m"),
        ("https://cdn:8443/m", "https://cdn:8443/m"),
        ("https://cdn", "https://cdn/"),
    ],
)
def test_where_a_redirection_leads(location: str, expected: str) -> None:
    assert redirected(Url("https", "host", 443, "/a/m"), location).text == expected


@pytest.mark.parametrize(
    "location", ["http://host/m", "http://cdn/m", "ftp://host/m", "file:///etc/m", "https://[x"]
)
def test_where_no_redirection_may_lead(location: str) -> None:
    with pytest.raises(SourceFailedError):
        redirected(Url("https", "host", 443, "/a/m"), location)


@given(st.text(max_size=60))
def test_a_redirection_is_followed_or_refused(location: str) -> None:
    try:
        url = redirected(Url("https", "host", 443, "/a/m"), location)
    except ModelFileError:
        return
    assert url.scheme == "https"


@pytest.mark.parametrize(
    ("other", "trusted"),
    [
        (Url("https", "host", 443, "/"), True),
        (Url("https", "host", 444, "/"), False),
        (Url("http", "host", 443, "/"), False),
        (Url("https", "host.evil", 443, "/"), False),
    ],
)
def test_who_gets_credentials(other: Url, *, trusted: bool) -> None:
    assert Url("https", "host", 443, "/m").trusts(other) is trusted


def test_an_upgrade_to_tls_keeps_credentials() -> None:
    assert Url("http", "host", 80, "/m").trusts(Url("https", "host", 443, "/m"))
    assert not Url("http", "host", 8080, "/m").trusts(Url("https", "host", 443, "/m"))
