"""What S3 tells of an object. Pure."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from model_files.http_answers import part_of
from model_files.source import RemoteStat

_SHA256_BYTES = 32


def stat_of_object(answer: Mapping[str, Any]) -> RemoteStat:
    """Read the answer of head_object, or of get_object with all of an object."""
    return RemoteStat(answer.get("ContentLength"), answer.get("ETag"), _sha256(answer.get("ChecksumSHA256")))


def stat_of_part(answer: Mapping[str, Any], offset: int, uri: str) -> RemoteStat:
    """Read the answer of get_object with the rest of an object.

    Raises:
        SourceFailedError: it is another part than the one from `offset`.
    """
    head = {"Content-Range": answer.get("ContentRange", ""), "Content-Length": str(answer["ContentLength"])}
    return RemoteStat(part_of(head, offset, uri).stat.size, answer.get("ETag"))


def _sha256(checksum: str | None) -> str | None:
    """Return the digest in hex; None for none, and for a digest of the parts' digests ("…-3")."""
    try:
        digest = base64.b64decode(checksum or "", validate=True)
    except binascii.Error:
        return None
    return digest.hex() if len(digest) == _SHA256_BYTES else None
