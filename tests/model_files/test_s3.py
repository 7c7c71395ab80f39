"""`s3:` references against a real S3 server, and against a scripted one for what that does not do."""

import base64
import hashlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from model_servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server, program, s3_server
from model_servers.web import Answer, Request, file_answer, serving

from model_files.errors import (
    InvalidReferenceError,
    MissingFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.http_client import CHUNK_BYTES
from model_files.s3 import MAX_LISTED, S3Source
from model_files.settings import ProviderSettings, S3Settings
from model_files.source import RemoteFile, RemoteStat

pytest.importorskip("boto3")

pytestmark = pytest.mark.timeout(120, func_only=True)  # not for the build of the server

CONTENT = bytes(range(256)) * 12_000
ETAG = f'"{hashlib.md5(CONTENT).hexdigest()}"'


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture(scope="session")
def s3s_fs() -> Path:
    """Return the server's program, built before the first test that needs it."""
    return program()


@pytest.fixture(scope="module")
def server(s3s_fs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(s3s_fs, tmp_path_factory.mktemp("s3")) as running:
        running.put("models", "demo/yolo/m.onnx", CONTENT)
        running.put("models", "demo/yolo/sub/labels.txt", b"a\nb\n")
        running.put("models", "demo/yolov9/m.onnx", b"another model")
        running.put("models", "top.onnx", b"at the top")
        running.put("models", "empty.bin", b"")
        yield running


def source_of(url: str | None, stall_s: float = 5.0, *, anonymous: bool = False) -> S3Source:
    s3 = S3Settings(endpoint=url, region="eu-central-1", anonymous=anonymous)
    return S3Source(ProviderSettings(cache_dir=Path("unused"), stall_s=stall_s, s3=s3))


def take(
    source: S3Source, file: RemoteFile, offset: int = 0, validator: str | None = None
) -> tuple[RemoteStat, int, bytes]:
    with source.fetch(file, offset, validator) as transfer:
        return transfer.stat, transfer.offset, b"".join(transfer.chunks)


def test_an_object(server: S3Server) -> None:
    source = source_of(server.url)
    file = source.locate("s3://models/demo/yolo/m.onnx")
    assert (file.place, file.model_id, file.path) == ("models", "demo/yolo", "m.onnx")
    expected = RemoteStat(size=len(CONTENT), validator=ETAG)
    assert source.stat(file) == expected
    assert take(source, file) == (expected, 0, CONTENT)
    assert take(source, source.locate("s3://models/top.onnx"))[2] == b"at the top"
    assert take(source, source.locate("s3://models/empty.bin"))[2] == b""


def test_going_on_where_it_broke_off(server: S3Server) -> None:
    source = source_of(server.url)
    file = source.locate("s3://models/demo/yolo/m.onnx")
    assert take(source, file, 1000, ETAG) == (RemoteStat(len(CONTENT), ETAG), 1000, CONTENT[1000:])


def test_another_content_begins_anew(server: S3Server) -> None:
    """This server does not heed If-Match, as not all do."""
    source = source_of(server.url)
    file = source.locate("s3://models/demo/yolo/m.onnx")
    assert take(source, file, 1000, '"of an older one"')[1:] == (0, CONTENT)
    assert take(source, file, 1000, None)[1:] == (0, CONTENT)
    assert take(source, file, len(CONTENT) + 7, ETAG)[1:] == (0, CONTENT)


def test_a_digest_that_the_server_knows(server: S3Server) -> None:
    source = source_of(server.url)
    source._client().put_object(
        Bucket="models", Key="signed/m.bin", Body=b"content", ChecksumAlgorithm="SHA256"
    )
    file = source.locate("s3://models/signed/m.bin")
    assert source.stat(file).sha256 == hashlib.sha256(b"content").hexdigest()
    assert take(source, file)[2] == b"content"


def test_the_objects_of_a_model(server: S3Server) -> None:
    source = source_of(server.url)
    assert source.list_files(source.locate("s3://models/demo/yolo/m.onnx")) == ("m.onnx", "sub/labels.txt")
    assert source.list_files(source.locate("s3://models/nope/m.onnx")) == ()
    at_the_top = source.list_files(source.locate("s3://models/top.onnx"))
    assert at_the_top is not None
    assert {"top.onnx", "demo/yolov9/m.onnx"} <= set(at_the_top)


def test_many_pages_and_what_is_no_model(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(1100):
        server.put("many", f"m/{n:04}.bin", b"")
    source = source_of(server.url)
    listed = source.list_files(source.locate("s3://many/m/0000.bin"))
    assert listed == tuple(f"{n:04}.bin" for n in range(1100))
    monkeypatch.setattr("model_files.s3.MAX_LISTED", 1050)
    assert MAX_LISTED > 1050
    assert source.list_files(source.locate("s3://many/m/0000.bin")) is None


@pytest.mark.parametrize("uri", ["s3://models/demo/yolo/nope.onnx", "s3://no-such-bucket/m.onnx"])
def test_what_is_not_there(server: S3Server, uri: str) -> None:
    source = source_of(server.url)
    with pytest.raises(MissingFileError):
        source.stat(source.locate(uri))
    with pytest.raises(MissingFileError):
        take(source, source.locate(uri))


@pytest.mark.parametrize(
    "uri",
    [
        "s3://",
        "s3://bucket",
        "s3://bucket/",
        "s3:///key",
        "s3://bucket/folder/",
        "s3://bucket/a//b",
        "s3://bucket/../b",
        "s3://me:word@bucket/key",
        "s3://bucket/a/./b",
        "s3://bucket/a\\b",
    ],
)
def test_what_is_no_reference(uri: str) -> None:
    with pytest.raises(InvalidReferenceError) as caught:
        source_of(None).locate(uri)
    assert "word" not in str(caught.value)


def test_wrong_credentials_and_none(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    source = source_of(server.url)
    file = source.locate("s3://models/top.onnx")
    with pytest.raises(SourceFailedError, match=r"secret key|403") as caught:
        take(source, file)
    assert "another" not in str(caught.value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(SourceFailedError, match="no credentials"):
        take(source_of(server.url), file)


def test_the_endpoint_of_the_environment(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    source = source_of(None)
    assert take(source, source.locate("s3://models/top.onnx"))[2] == b"at the top"


def test_a_server_that_is_killed_midway_and_one_that_comes_back(s3s_fs: Path, tmp_path: Path) -> None:
    with s3_server(s3s_fs, tmp_path) as server:
        server.put("models", "m.onnx", CONTENT * 12)
        source = source_of(server.url, stall_s=2)
        file = source.locate("s3://models/m.onnx")
        came = bytearray()
        with source.fetch(file) as transfer, pytest.raises(SourceUnavailableError):  # noqa: PT012
            for chunk in transfer.chunks:
                came += chunk
                server.process.kill()
                server.process.wait()
        assert 0 < len(came) < len(CONTENT) * 12
        with pytest.raises(SourceUnavailableError):
            source.stat(file)
    with s3_server(s3s_fs, tmp_path) as server:
        source = source_of(server.url)
        stat, offset, rest = take(source, file, len(came), transfer.stat.validator)
    assert (offset, bytes(came) + rest) == (len(came), CONTENT * 12)
    assert stat.size == len(CONTENT) * 12


def test_a_server_that_stands_still(s3s_fs: Path, tmp_path: Path) -> None:
    with s3_server(s3s_fs, tmp_path) as server:
        server.put("models", "m.onnx", CONTENT)
        source = source_of(server.url, stall_s=0.5)
        server.process.send_signal(signal.SIGSTOP)
        with pytest.raises(SourceUnavailableError, match="sends nothing"):
            source.stat(source.locate("s3://models/m.onnx"))


def scripted(answer: Callable[[Request], Answer], **settings: Any) -> tuple[Any, list[str]]:
    """Ask a scripted server once for the rest of an object; returns what came and the targets."""
    with serving(answer) as server:
        source = source_of(server.url, stall_s=2, **settings)
        try:
            return take(source, source.locate("s3://models/m.onnx"), 1000, ETAG), [
                request.headers.get("authorization", "") for request in server.requests
            ]
        finally:
            server.closing.set()


def test_if_match_refused_begins_anew() -> None:
    def answer(request: Request) -> Answer:
        if "if-match" in request.headers:
            assert request.headers["if-match"] == ETAG
            assert request.headers["range"] == "bytes=1000-"
            return _error(412, "PreconditionFailed")
        return file_answer(request, CONTENT)

    assert scripted(answer)[0][1:] == (0, CONTENT)


def test_unsigned_requests() -> None:
    (_, offset, rest), authorizations = scripted(
        lambda request: file_answer(request, CONTENT), anonymous=True
    )
    assert (offset, rest) == (1000, CONTENT[1000:])
    assert authorizations == [""]


def test_another_part_than_asked_for_is_refused() -> None:
    headers = {"ETag": ETAG, "Content-Range": f"bytes 999-{len(CONTENT) - 1}/{len(CONTENT)}"}
    with pytest.raises(SourceFailedError, match="asked for the rest"):
        scripted(lambda request: Answer(206, headers, CONTENT[999:]))


@pytest.mark.parametrize(
    ("status", "code", "kind", "text"),
    [
        (404, "NoSuchKey", MissingFileError, "no such object"),
        (404, "NoSuchBucket", MissingFileError, "no such bucket"),
        (403, "AccessDenied", SourceFailedError, "access is denied"),
        (403, "InvalidAccessKeyId", SourceFailedError, "access key"),
        (400, "ExpiredToken", SourceFailedError, "expired"),
        (503, "SlowDown", SourceUnavailableError, "503"),
        (500, "InternalError", SourceUnavailableError, "500"),
        (418, "Teapot", SourceFailedError, "418"),
    ],
)
def test_what_a_refusal_means(status: int, code: str, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        scripted(lambda request: _error(status, code))
    assert type(caught.value) is kind


def test_when_to_ask_again() -> None:
    busy = _error(503, "SlowDown")
    busy.headers["Retry-After"] = "4"
    with pytest.raises(SourceUnavailableError) as caught:
        scripted(lambda request: busy)
    assert caught.value.retry_after_s == 4


def test_a_cut_transfer_keeps_what_came() -> None:
    answer = file_answer(Request("GET", "/", {}), CONTENT)
    answer.stop_after = CHUNK_BYTES + 100
    with serving(lambda request: answer) as server:
        source = source_of(server.url, stall_s=2)
        came = bytearray()
        with source.fetch(source.locate("s3://b1/m")) as transfer, pytest.raises(SourceUnavailableError):  # noqa: PT012
            for chunk in transfer.chunks:
                came += chunk
        assert CHUNK_BYTES <= len(came) < len(CONTENT)
        assert CONTENT.startswith(came)


def test_a_digest_of_parts_is_no_digest() -> None:
    composite = base64.b64encode(hashlib.sha256(b"").digest()).decode() + "-3"
    with serving(
        lambda request: Answer(200, {"ETag": ETAG, "x-amz-checksum-sha256": composite}, CONTENT)
    ) as server:
        source = source_of(server.url)
        assert source.stat(source.locate("s3://b1/m")).sha256 is None


def test_nothing_secret_is_logged(server: S3Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    source = source_of(server.url)
    take(source, source.locate("s3://models/top.onnx"))
    for secret in (ACCESS_KEY, SECRET_KEY, "Signature"):
        assert secret not in caplog.text


def _error(status: int, code: str) -> Answer:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()
    return Answer(status, {"Content-Type": "application/xml"}, body)
