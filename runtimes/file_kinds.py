"""Which runtime a model file is for: by its name, and by its first bytes when the name lied."""

from pathlib import Path, PurePath

from runtimes.errors import ModelLoadError

RUNTIME_BY_SUFFIX = {
    ".onnx": "onnxruntime",
    ".ort": "onnxruntime",
    ".xml": "openvino",
    ".bin": "openvino",
    ".tflite": "litert",
    ".mlpackage": "coreml",
    ".mlmodel": "coreml",
    ".mlmodelc": "coreml",
    ".pt": "torch",
    ".pth": "torch",
    ".pt2": "torch",
}
"""A file's suffix, lower case → the runtime that reads it."""

FAKE_SCHEME = "fake:"

# (offset, bytes there, what such a file is). First match wins.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (4, b"TFL3", "a TensorFlow Lite model"),
    (4, b"ORTM", "a model in ORT format"),
    (0, b"<?xml", "an XML file, as OpenVINO models are"),
    (0, b"<net", "an XML file, as OpenVINO models are"),
    (0, b"PK\x03\x04", "a zip archive, as PyTorch models are"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x89HDF", "an HDF5 file, as Keras models are"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"\xff\xd8\xff", "a JPEG picture"),
    (0, b"\x89PNG", "a PNG picture"),
)
_HEAD_BYTES = 64


def runtime_for(path: Path | str) -> str:
    """Return the runtime for a model by the kind of its file: what "auto" means.

    Raises:
        ModelLoadError: the name does not tell.
    """
    text = str(path)
    if text.startswith(FAKE_SCHEME):
        return "fake"
    suffix = PurePath(text).suffix.lower()
    runtime = RUNTIME_BY_SUFFIX.get(suffix)
    if runtime is None:
        known = " ".join(RUNTIME_BY_SUFFIX)
        raise ModelLoadError(f"cannot tell the runtime of {text!r} by its suffix: expected one of {known}")
    return runtime


def describe_kind(head: bytes) -> str | None:
    """Return what a file with these first bytes is, None where they tell nothing."""
    stripped = head.lstrip(b"\xef\xbb\xbf \r\n\t")
    matches = (
        text
        for offset, magic, text in _SIGNATURES
        if (stripped if offset == 0 else head)[offset:].startswith(magic)
    )
    return next(matches, None)


def check_model_file(path: Path, wanted: str) -> bytes:
    """Look at a model file before a library does, and return its first bytes.

    Libraries answer a missing, empty or foreign file with a parser's error; this says what is there.

    Args:
        path: the file.
        wanted: what it should be, for the error: "an ONNX model".

    Raises:
        ModelLoadError: it is missing, no regular file, empty, or cannot be read.
    """
    if path.is_dir():
        raise ModelLoadError(f"{path} is a folder, not {wanted}")
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as exc:
        raise ModelLoadError(f"no such file: {path}") from exc
    except (OSError, ValueError) as exc:
        raise ModelLoadError(f"cannot read {str(path)!r}: {exc}") from exc
    if not head:
        raise ModelLoadError(f"{path} is empty, not {wanted}")
    return head
