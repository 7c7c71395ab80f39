"""Which remote names become paths, and what of a reference may be shown."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_files.errors import InvalidReferenceError
from model_files.names import (
    beside,
    check_path,
    file_name,
    folder_of,
    is_always_local,
    scheme_of,
    shown,
)

ALLOWED = [
    "model.onnx",
    "onnx/model_q4.onnx_data",
    "a/b/c/d.bin",
    ".gitattributes",
    "modèle-größe.onnx",
    "模型.onnx",
    "with space.onnx",
    "console.onnx",
    "com10.txt",
    "a..b",
    "...model",
    "x" * 255,
    "1_Pooling/config.json",
    "@scope/name@1.2#3+~(4).bin",
]

REFUSED = [
    ("", "empty"),
    (".", "segment"),
    ("..", "segment"),
    ("../x", "segment"),
    ("a/../b", "segment"),
    ("a/./b", "segment"),
    ("a//b", "segment"),
    ("/etc/passwd", "segment"),
    ("a/", "segment"),
    ("a\\b", r"\\"),
    ("..\\..\\x", r"\\"),
    ("C:/x", ":"),
    ("c:x", ":"),
    ("file.txt:stream", ":"),
    ("a?b", r"\?"),
    ("a*b", r"\*"),
    ("a|b", r"\|"),
    ('a"b', '"'),
    ("a<b", "<"),
    ("a\0b", "control"),
    ("a\nb", "control"),
    ("a\x1bb", "control"),
    ("a\u202eb", "control"),
    ("a\ud800b", "control"),
    ("a\u2028b", "control"),
    ("CON", "device"),
    ("nul.onnx", "device"),
    ("sub/Com1.bin", "device"),
    ("lpt¹.tar.gz", "device"),
    ("CONIN$", "device"),
    ("aux .txt", "device"),
    ("name.", "dot"),
    ("name ", "space"),
    (" name", "space"),
    ("x" * 256, "255 bytes"),
    ("ü" * 128, "255 bytes"),
    ("a/" * 600 + "b", "too long"),
]


@pytest.mark.parametrize("path", ALLOWED)
def test_allowed(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_refused_with_a_reason_in_one_line(path: str, why: str) -> None:
    with pytest.raises(InvalidReferenceError, match=why) as caught:
        check_path(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 260


PIECES = st.sampled_from(
    ["..", ".", "", "/", "\\", "a", "C:", "con", "\0", "%2e", "name.onnx", "~", " ", "\u202e", "ü" * 90]
)


@given(st.one_of(st.text(), st.lists(PIECES).map("/".join), st.lists(PIECES).map("".join)))
def test_nothing_escapes(name: str) -> None:
    """Whatever is allowed lies inside its folder, by the rules of both kinds of system."""
    try:
        path = check_path(name)
    except InvalidReferenceError:
        return
    posix = PurePosixPath("/cache/tree") / path
    windows = PureWindowsPath("C:\\cache\\tree") / path
    assert ".." not in posix.parts + windows.parts
    assert posix.is_relative_to("/cache/tree")
    assert windows.is_relative_to("C:\\cache\\tree")
    assert len(posix.parts) == len(windows.parts) == 4 + name.count("/")
    assert not PureWindowsPath(path).drive
    assert Path("/cache/tree", path).resolve().is_relative_to("/cache/tree")


@given(st.text(), st.text())
def test_what_lies_beside_stays_in_the_folder(folder: str, location: str) -> None:
    try:
        main = check_path(f"{folder}/model.onnx")
        other = beside(main, location)
    except InvalidReferenceError:
        return
    assert other.startswith(f"{folder}/")
    assert check_path(other) == other


def test_beside_and_folder() -> None:
    assert beside("onnx/model.onnx", "model.onnx_data") == "onnx/model.onnx_data"
    assert beside("model.onnx", "./weights/0.bin") == "weights/0.bin"
    assert (folder_of("a/b/c"), folder_of("c")) == ("a/b", "")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://me:secret@host:8/a/b.onnx?sig=secret#secret", "https://host:8/a/b.onnx"),
        ("https://secret@host/b.onnx", "https://host/b.onnx"),
        ("http://a@secret@host/x", "http://host/x"),
        ("http://host/a@b/x", "http://host/a@b/x"),
        ("modelcache://owner/name/m.onnx", "modelcache://owner/name/m.onnx"),
        ("hf://o/n/m.onnx@main", "hf://o/n/m.onnx@main"),
        ("models/a#1?.onnx", "models/a#1?.onnx"),
        ("fake:noop?size=640", "fake:noop?size=640"),
    ],
)
def test_what_is_shown(uri: str, expected: str) -> None:
    assert shown(uri) == expected


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("https://host/a/b.onnx?x=/c.tflite", "b.onnx"),
        ("hf://o/n/m.onnx@v1.0", "m.onnx"),
        ("s3://bucket/m@2x.onnx", "m@2x.onnx"),
        ("modelcache://o/n/a.mlpackage/", "a.mlpackage"),
        ("folder/m.onnx", "folder/m.onnx"),
    ],
)
def test_the_name_that_tells_the_kind(uri: str, expected: str) -> None:
    assert file_name(uri) == expected


@pytest.mark.parametrize("uri", ["", "/a", "./a", "../a", ".", "..", "C:\\a", "c:a", "~/a", "\\\\host\\a"])
def test_always_local(uri: str) -> None:
    assert is_always_local(uri)


@pytest.mark.parametrize("uri", ["a", "owner/name/m.onnx", ".hidden", "...", "hf://a", "file:///a"])
def test_not_always_local(uri: str) -> None:
    assert not is_always_local(uri)


def test_schemes() -> None:
    assert scheme_of("HTTPS://x") == "https"
    assert scheme_of("C:\\x") == ""
    assert scheme_of("s3://b") == "s3"
