"""A model cache behind TLS: the real server with certificates that the test makes."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from model_servers.model_cache import ModelCacheServer, serving
from model_servers.model_cache_double import ModelCacheDouble, file_chunks

from model_files.errors import SourceFailedError, SourceUnavailableError
from model_files.model_cache import ModelCacheSource
from model_files.settings import ModelCacheSettings, ProviderSettings, TlsSettings

pytestmark = pytest.mark.timeout(120, func_only=True)

NAME = "cache.example"


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def ca(identity: tuple[Path, Path]) -> str:
    return str(identity[0])


@pytest.fixture(scope="module")
def server(
    identity: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ModelCacheServer]:
    root = tmp_path_factory.mktemp("models")
    (root / "demo/m").mkdir(parents=True)
    (root / "demo/m/a.bin").write_bytes(b"content")
    certificate, key = map(str, identity)
    with serving(root, ["--tls-cert", certificate, "--tls-key", key]) as running:
        yield running


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Return a certificate for NAME that vouches for itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        assert "INFERPIPE_CI" not in os.environ, "openssl is missing"
        pytest.skip("openssl is not installed")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-days", "2"]
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*command, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True, timeout=60
    )
    return certificate, key


def take(server: ModelCacheServer | ModelCacheDouble, tls: TlsSettings | None) -> bytes:
    settings = ModelCacheSettings(server.target, tls)
    cache = ModelCacheSource(ProviderSettings(modelcache=settings, stall_s=5))
    with cache.fetch(cache.locate("modelcache://demo/m/a.bin")) as transfer:
        return b"".join(transfer.chunks)


def test_a_server_that_is_trusted(server: ModelCacheServer, ca: str) -> None:
    assert take(server, TlsSettings(ca=ca, server_name=NAME)) == b"content"


def test_a_server_that_the_system_trusts(
    server: ModelCacheServer, ca: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca)
    assert take(server, TlsSettings(server_name=NAME)) == b"content"


@pytest.mark.parametrize("name", [None, "other.example"])
def test_a_server_of_another_name(server: ModelCacheServer, ca: str, name: str | None) -> None:
    assert_refused(server, TlsSettings(ca=ca, server_name=name), "its certificate is not for this name")


def test_a_server_that_nobody_vouches_for(server: ModelCacheServer) -> None:
    assert_refused(server, TlsSettings(server_name=NAME), "its certificate is not trusted")


def test_a_server_that_does_not_speak_tls(ca: str) -> None:
    plain = ModelCacheDouble(lambda request, context: file_chunks(b"content"))
    assert_refused(plain, TlsSettings(ca=ca, server_name=NAME), "it does not speak TLS")
    plain.close()


def assert_refused(server: ModelCacheServer | ModelCacheDouble, tls: TlsSettings, words: str) -> None:
    """Nothing of the file is sent, and nobody tries again."""
    with pytest.raises(SourceFailedError, match=words) as caught:
        take(server, tls)
    assert type(caught.value) is SourceFailedError


def test_without_tls_where_the_server_wants_it(server: ModelCacheServer) -> None:
    with pytest.raises(SourceUnavailableError):
        take(server, None)


@pytest.fixture
def strict(identity: tuple[Path, Path]) -> Iterator[ModelCacheDouble]:
    """Give a double that wants a client's certificate too, which the real server never does."""
    certificate, key = (path.read_bytes() for path in identity)
    credentials = grpc.ssl_server_credentials([(key, certificate)], certificate, require_client_auth=True)
    double = ModelCacheDouble(lambda request, context: file_chunks(b"content"), credentials=credentials)
    yield double
    double.close()


def test_a_server_that_wants_to_know_its_client(
    strict: ModelCacheDouble, identity: tuple[Path, Path]
) -> None:
    certificate, key = map(str, identity)
    tls = TlsSettings(ca=certificate, cert=certificate, key=key, server_name=NAME)
    assert take(strict, tls) == b"content"
    with pytest.raises(SourceUnavailableError):
        take(strict, TlsSettings(ca=certificate, server_name=NAME))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["ca"], "no certificates and key in PEM"),
        (["cert"], "cert and key are of use together alone"),
        (["key"], "cert and key are of use together alone"),
        (["cert", "key"], "no certificates and key in PEM"),
    ],
)
@pytest.mark.parametrize("content", [b"", b"not PEM at all", b"\0\xff"])
def test_files_of_something_else(
    server: ModelCacheServer, tmp_path: Path, names: list[str], words: str, content: bytes
) -> None:
    """gRPC itself would end the process for half of these."""
    path = tmp_path / "file.pem"
    path.write_bytes(content)
    with pytest.raises(SourceFailedError, match=rf"provider\.modelcache\.tls: .*{words}"):
        take(server, TlsSettings(**dict.fromkeys(names, str(path))))


def test_a_key_of_another_certificate(server: ModelCacheServer, ca: str, tmp_path: Path) -> None:
    _, key = make_certificate(tmp_path)
    with pytest.raises(SourceFailedError, match="no certificates and key in PEM"):
        take(server, TlsSettings(ca=ca, cert=ca, key=str(key)))


@pytest.mark.parametrize("names", [["ca"], ["cert", "key"]])
def test_a_file_that_is_not_there(server: ModelCacheServer, tmp_path: Path, names: list[str]) -> None:
    missing = dict.fromkeys(names, str(tmp_path / "none.pem"))
    with pytest.raises(
        SourceFailedError, match=r"provider\.modelcache\.tls: cannot read .*/none\.pem: No such file"
    ):
        take(server, TlsSettings(**missing))
