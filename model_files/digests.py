"""SHA-256 as it is written here: 64 digits of lower-case hex."""

import hashlib
import re
from pathlib import Path

from model_files.errors import InvalidReferenceError

_DIGEST = re.compile(r"[0-9a-f]{64}")


def is_sha256(text: str) -> bool:
    """Whether a text is a digest as it is written here."""
    return _DIGEST.fullmatch(text) is not None


def checked_sha256(text: str) -> str:
    """Return a digest that a person has written, in lower case.

    Raises:
        InvalidReferenceError: it is none.
    """
    digest = text.lower()
    if not is_sha256(digest):
        raise InvalidReferenceError(f"sha256 must be 64 hexadecimal digits, got {text!r}")
    return digest


def sha256_of(path: Path) -> str:
    """Return a file's digest, reading it in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
