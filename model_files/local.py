"""Models that already lie on a local disk: plain paths and `file:` URIs."""

import os
import re
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from model_files.base import ModelFiles, ModelRef
from model_files.digests import checked_sha256, sha256_of
from model_files.errors import DigestMismatchError, InvalidReferenceError, MissingFileError

_LOCAL_HOSTS = frozenset({"", "localhost"})
_DRIVE = re.compile(r"/[A-Za-z]:")


class LocalFiles:
    """Resolves paths and `file:` URIs to the files that are there, without copying them."""

    def get_file(self, model_id: str, file_path: str) -> bytes:
        """Return the bytes of `file_path` inside the folder `model_id`.

        Raises:
            InvalidReferenceError: `file_path` leads out of the folder.
            MissingFileError: nothing can be read there.
        """
        relative = PurePath(file_path)
        if relative.is_absolute() or ".." in relative.parts:
            raise InvalidReferenceError(f"{file_path!r} leads out of the model's folder")
        path = local_path(model_id) / relative
        try:
            return path.read_bytes()
        except (OSError, ValueError) as exc:
            raise MissingFileError(f"cannot read {path}: {_reason(exc)}") from exc

    def local_files(self, ref: ModelRef) -> ModelFiles:
        """Return the file or folder that `ref` names; companions lie beside it already.

        Raises:
            InvalidReferenceError: the reference or its digest is malformed.
            MissingFileError: nothing is there, or it cannot be read.
            DigestMismatchError: the file is another one than `ref.sha256` says.
        """
        path = local_path(ref.uri)
        _check_present(path)
        if ref.sha256 is not None:
            check_sha256(path, ref.sha256)
        return ModelFiles(path=path, uri=ref.uri)

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        """Return the paths of all files in the folder `model_id`.

        Raises:
            MissingFileError: there is no such folder.
        """
        folder = local_path(model_id)
        if not folder.is_dir():
            raise MissingFileError(f"no such folder: {folder}")
        return tuple(
            sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        )


def local_path(uri: str) -> Path:
    """Return the path that a plain path or a `file:` URI names."""
    if not uri:
        raise InvalidReferenceError("the model's path is empty")
    if uri[:5].lower() != "file:":
        return Path(uri)
    try:
        parts = urlsplit(uri)
    except ValueError as exc:
        raise InvalidReferenceError(f"cannot read {uri!r}: {exc}") from exc
    if parts.netloc.lower() not in _LOCAL_HOSTS:
        raise InvalidReferenceError(f"{uri!r} names a file on another host: {parts.netloc}")
    if parts.query or parts.fragment or not parts.path:
        raise InvalidReferenceError(
            f"{uri!r} is not a file URI: expected file:///path, ? and # as %3F and %23"
        )
    path = unquote(parts.path)
    # file:///C:/x: the slash before the drive letter belongs to the URI, not to the path.
    return Path(path[1:] if os.name == "nt" and _DRIVE.match(path) else path)


def check_sha256(path: Path, expected: str) -> None:
    """Compare a file's digest with the expected one, reading it in pieces.

    Raises:
        InvalidReferenceError: `expected` is no SHA-256 digest, or `path` is a folder.
        MissingFileError: the file cannot be read.
        DigestMismatchError: they differ.
    """
    wanted = checked_sha256(expected)
    if path.is_dir():
        raise InvalidReferenceError(f"{path} is a folder: its sha256 cannot be checked")
    try:
        actual = sha256_of(path)
    except OSError as exc:
        raise MissingFileError(f"cannot read {path}: {_reason(exc)}") from exc
    if actual != wanted:
        raise DigestMismatchError(f"{path} has sha256 {actual}, expected {wanted}")


def _check_present(path: Path) -> None:
    try:
        path.stat()
    except FileNotFoundError as exc:
        raise MissingFileError(f"no such file: {path}") from exc
    except (OSError, ValueError) as exc:
        raise MissingFileError(f"cannot read {str(path)!r}: {_reason(exc)}") from exc


def _reason(exc: OSError | ValueError) -> str:
    """Return why, without the path that the caller names anyway."""
    return (exc.strerror if isinstance(exc, OSError) else None) or str(exc)
