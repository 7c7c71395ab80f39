"""Paths and `file:` URIs, digests, and everything that is not there."""

import hashlib
from pathlib import Path

import pytest

from model_files import ModelFiles, ModelRef, provider_for, resolve
from model_files.errors import (
    DigestMismatchError,
    InvalidReferenceError,
    MissingFileError,
    ModelFileError,
    UnsupportedSchemeError,
)
from model_files.local import LocalFiles

CONTENT = b"a model"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "a model#1.onnx"
    path.write_bytes(CONTENT)
    return path


def test_a_plain_path(model: Path) -> None:
    assert resolve(ModelRef(str(model))) == ModelFiles(path=model, uri=str(model))


def test_a_relative_path_and_a_folder(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(ModelRef(model.name)).path == Path(model.name)
    assert resolve(ModelRef(str(tmp_path))).path == tmp_path


@pytest.mark.parametrize("prefix", ["file://", "file://localhost", "FILE://", "file:"])
def test_file_uris(model: Path, prefix: str) -> None:
    uri = prefix + model.as_uri().removeprefix("file://")
    assert resolve(ModelRef(uri)) == ModelFiles(path=model, uri=uri)


@pytest.mark.parametrize("digest", [DIGEST, DIGEST.upper()])
def test_the_right_digest(model: Path, digest: str) -> None:
    assert resolve(ModelRef(str(model), digest)).path == model


def test_another_digest_names_both(model: Path) -> None:
    other = "0" * 64
    with pytest.raises(DigestMismatchError) as caught:
        resolve(ModelRef(str(model), other))
    assert DIGEST in str(caught.value)
    assert other in str(caught.value)


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, DIGEST + "0", " " + DIGEST[1:]])
def test_what_is_no_digest(model: Path, digest: str) -> None:
    with pytest.raises(InvalidReferenceError, match="hexadecimal"):
        resolve(ModelRef(str(model), digest))


def test_a_folder_has_no_digest(tmp_path: Path) -> None:
    with pytest.raises(InvalidReferenceError, match="folder"):
        resolve(ModelRef(str(tmp_path), DIGEST))


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("", InvalidReferenceError),
        ("/no/such/model.onnx", MissingFileError),
        ("file:///no/such/model.onnx", MissingFileError),
        ("a\0b.onnx", MissingFileError),
        ("x" * 5000, MissingFileError),
        (__file__ + "/model.onnx", MissingFileError),
        ("file:", InvalidReferenceError),
        ("file://elsewhere/model.onnx", InvalidReferenceError),
        ("file:///m.onnx?x=1", InvalidReferenceError),
        ("file:///m.onnx#x", InvalidReferenceError),
        ("file://[/m.onnx", InvalidReferenceError),
        ("C:\\models\\m.onnx", MissingFileError),
        ("gopher://host/m.onnx", UnsupportedSchemeError),
        ("m:x:" + "y" * 5000, MissingFileError),
        ("mm:x:" + "y" * 5000, UnsupportedSchemeError),
    ],
)
def test_what_cannot_be_resolved(uri: str, error: type[ModelFileError]) -> None:
    with pytest.raises(error) as caught:
        resolve(ModelRef(uri))
    assert "\n" not in str(caught.value)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(UnsupportedSchemeError, match="unknown scheme 'gopher'"):
        resolve(ModelRef("gopher://host/m.onnx"))


def test_a_colon_in_a_file_s_name_is_no_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("yolo:v2.onnx").write_bytes(CONTENT)
    assert resolve(ModelRef("yolo:v2.onnx", DIGEST)).path == Path("yolo:v2.onnx")


def test_fake_models_pass_through() -> None:
    uri = "fake:noop?size=640&labels=a//b"
    assert resolve(ModelRef(uri)).uri == uri
    with pytest.raises(InvalidReferenceError, match="sha256"):
        resolve(ModelRef(uri, DIGEST))


def test_files_beside_a_model(model: Path) -> None:
    assert LocalFiles().get_file(str(model.parent), model.name) == CONTENT
    with pytest.raises(MissingFileError):
        LocalFiles().get_file(str(model.parent), "none.bin")
    for outside in ("../x", "/etc/hostname", "a/../../x"):
        with pytest.raises(InvalidReferenceError, match="leads out"):
            LocalFiles().get_file(str(model.parent), outside)


def test_a_fake_model_has_no_files() -> None:
    with pytest.raises(MissingFileError, match="fake model"):
        provider_for("fake:noop").get_file("fake:noop", "weights.bin")
