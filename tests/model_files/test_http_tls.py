"""Servers with certificates: trusted ones, others, and what they redirect to."""

import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_servers.http import CONTENT, good, source, take
from model_servers.web import Answer, WebServer

from model_files.errors import SourceFailedError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1 that vouches for itself; returns it and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here, which makes the certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[WebServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    running = WebServer(good, tls=context)
    yield running
    running.close()


def test_a_certificate_that_nobody_vouches_for(server: WebServer) -> None:
    http = source()
    with pytest.raises(SourceFailedError, match="certificate") as caught:
        take(http, http.locate(f"{server.url}/m?sig=topsecret"))
    assert type(caught.value) is SourceFailedError  # waiting would not help
    assert "topsecret" not in str(caught.value)


def test_one_that_the_environment_trusts(
    server: WebServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    http = source()
    assert take(http, http.locate(f"{server.url}/m")) == (0, CONTENT)


def test_no_way_back_from_tls(
    server: WebServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    plain = WebServer(good)
    server.answer = lambda request: Answer(302, {"Location": f"{plain.url}/m"})
    try:
        http = source(Authorization="Bearer word")
        with pytest.raises(SourceFailedError, match="from https to http"):
            take(http, http.locate(f"{server.url}/m"))
        assert plain.requests == []
    finally:
        plain.close()


def test_another_name_than_the_certificate_has(
    server: WebServer, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    http = source()
    with pytest.raises(SourceFailedError, match="certificate"):
        take(http, http.locate(server.url.replace("127.0.0.1", "localhost") + "/m"))
