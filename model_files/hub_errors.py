"""What a refusal of the hub means for a file, in our words."""

from typing import Any

from model_files.errors import MissingFileError, ModelFileError, SourceFailedError
from model_files.extras import library
from model_files.http_answers import error_of


def error_of_hub(error: Any, uri: str) -> ModelFileError:
    """Return our error for an `HfHubHTTPError`; its own text is several lines and is not passed on.

    Args:
        error: as the library raised it.
        uri: the file, as it may be shown.
    """
    errors = library("huggingface_hub.errors", "hub")
    for kind, text in (
        (errors.GatedRepoError, "it is gated: ask for access on the hub, then set HF_TOKEN"),
        (errors.DisabledRepoError, "its repository is disabled"),
    ):
        if isinstance(error, kind):
            return SourceFailedError(f"{uri}: {text}")
    for kind, text in (
        (errors.EntryNotFoundError, "no such file"),
        (errors.RevisionNotFoundError, "no such revision"),
        (
            errors.RepositoryNotFoundError,
            "no such repository, or a private one that HF_TOKEN gives no access to",
        ),
    ):
        if isinstance(error, kind):
            return MissingFileError(f"{text}: {uri}")
    return error_of(error.response.status_code, error.response.headers, uri)
