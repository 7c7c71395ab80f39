"""What a model cache's gRPC statuses mean here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from model_files.errors import (
    MissingFileError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)

if TYPE_CHECKING:
    import grpc

_MAX_WORDS = 300
"""Characters of a server's own text that are passed on."""

_MEANINGS: Mapping[str, tuple[type[ModelFileError], str]] = {
    "NOT_FOUND": (MissingFileError, "the model cache has no such file"),
    "INVALID_ARGUMENT": (SourceFailedError, "the model cache refuses the name"),
    "PERMISSION_DENIED": (SourceFailedError, "the model cache may not hand it out"),
    "UNAUTHENTICATED": (SourceFailedError, "the model cache wants to know who asks"),
    "UNIMPLEMENTED": (SourceFailedError, "the server is no model cache"),
    "UNAVAILABLE": (SourceUnavailableError, "the model cache cannot be reached"),
    "ABORTED": (SourceUnavailableError, "the model cache broke off"),
    "CANCELLED": (SourceUnavailableError, "the model cache broke off"),
    "DEADLINE_EXCEEDED": (SourceUnavailableError, "the model cache took too long"),
}

_TLS_FAULTS: Mapping[str, str] = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not trusted",
    "Hostname Verification Check failed": "its certificate is not for this name",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
}
"""Words of gRPC's about connections that come to nothing → what they mean. All come as UNAVAILABLE, and none
gets better by waiting."""


def error_of(error: "grpc.RpcError", uri: str) -> ModelFileError:
    """Return what a failed call means: one line, with the server's own words in it.

    Args:
        error: of a call that has ended.
        uri: of the file.
    """
    status, words = error.code().name, _one_line(error.details() or "")
    kind, meaning = _MEANINGS.get(status, (SourceFailedError, f"the model cache failed with {status}"))
    for fault, explained in _TLS_FAULTS.items():
        if kind is SourceUnavailableError and fault in words:
            kind, meaning = SourceFailedError, f"{meaning}: {explained}"
    return kind(f"{uri}: {meaning}: {words}" if words else f"{uri}: {meaning}")


def stalled(uri: str, stall_s: float) -> SourceUnavailableError:
    """Return the error of a stream in which nothing has come for so long."""
    return SourceUnavailableError(f"{uri}: the model cache has sent nothing for {stall_s:g} s")


def _one_line(words: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in words).split())
    return line if len(line) <= _MAX_WORDS else line[: _MAX_WORDS - 3] + "..."
