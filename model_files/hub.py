"""`hf:` references: files of a Hugging Face hub, through its own library for all but the bytes.

The bytes go straight into this project's cache. The library's own download would leave a second copy
in its cache, and Xet storage a third.
"""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from model_files.digests import is_sha256
from model_files.errors import (
    InvalidReferenceError,
    ModelFileError,
    SourceFailedError,
    SourceUnavailableError,
)
from model_files.extras import library
from model_files.http_answers import error_of, part_of, whole_of
from model_files.http_client import HttpClient, chunks_of, keep_quiet
from model_files.http_urls import read_url
from model_files.hub_errors import error_of_hub
from model_files.names import check_path, shown
from model_files.settings import ProviderSettings
from model_files.source import RemoteFile, RemoteStat, Transfer

LIBRARY_NAME = "inferpipe-model-files"
"""How our own requests name themselves: interception (hub_interception.py) lets them through."""

_NAMED = re.compile(r"hf://([^/@]+/[^/@]+)(?:@(refs/(?:pr|convert)/[^/]+|[^/]+))?/(.+)", re.IGNORECASE)
_NO_MODELS = frozenset({"datasets", "spaces", "kernels", "buckets", "models"})
"""First segments by which the hub's library names other kinds of repository."""


class HubSource:
    """Files of model repositories. Endpoint and token come from the library's environment or the settings."""

    revalidates = True

    def __init__(self, settings: ProviderSettings) -> None:
        """Set it up; nothing is imported or opened yet."""
        self._endpoint = settings.hf.endpoint.rstrip("/") if settings.hf.endpoint else None
        self._stall_s = settings.stall_s
        self._client = HttpClient(settings.stall_s, "hub")
        keep_quiet("httpcore", "httpcore2")

    def locate(self, uri: str) -> RemoteFile:
        model_id, path, revision = hub_names(uri)
        return RemoteFile(scheme="hf", place=self._place(), model_id=model_id, path=path, revision=revision)

    def stat(self, file: RemoteFile) -> RemoteStat:
        return _stat_of(self._metadata(file))

    @contextlib.contextmanager
    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None) -> Iterator[Transfer]:
        # What a commit holds never changes: its URL needs no If-Range, and a CDN's own ETags are no matter.
        metadata = self._metadata(file)
        stat = _stat_of(metadata)
        start = offset if offset and validator is not None and validator == stat.validator else 0
        headers = {"Range": f"bytes={start}-"} if start else {}
        url = read_url(self._url(file, metadata.commit_hash))
        with self._client.open("GET", url, file.uri, headers, self._headers()) as response:
            if response.status not in {200, 206}:
                raise error_of(response.status, response.headers, file.uri)
            partial = response.status == 206 and start
            head = (
                part_of(response.headers, start, file.uri)
                if partial
                else whole_of(response.headers, file.uri)
            )
            if stat.size is not None and head.stat.size not in {None, stat.size}:
                raise SourceFailedError(
                    f"{file.uri}: the hub announces {stat.size} bytes and sends {head.stat.size}"
                )
            yield Transfer(stat, head.offset, chunks_of(response, file.uri))

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        hub = library("huggingface_hub", "hub")
        api = hub.HfApi(endpoint=self._endpoint, library_name=LIBRARY_NAME)
        with self._faults(file):
            # Unlike list_repo_files it asks once: whoever calls us has a patience of his own.
            info = api.model_info(file.model_id, revision=file.revision, timeout=self._stall_s)
        return tuple(entry.rfilename for entry in info.siblings or ())

    def _metadata(self, file: RemoteFile) -> Any:
        """Return the library's `HfFileMetadata` of a file, all that we need in it."""
        hub = library("huggingface_hub", "hub")
        with self._faults(file):
            metadata = hub.get_hf_file_metadata(
                self._url(file, file.revision),
                timeout=self._stall_s,
                library_name=LIBRARY_NAME,
                endpoint=self._endpoint,
            )
        if metadata.commit_hash is None or metadata.etag is None:
            raise SourceFailedError(f"{file.uri}: {file.place} does not answer as a Hugging Face hub does")
        return metadata

    def _url(self, file: RemoteFile, revision: str | None) -> str:
        hub = library("huggingface_hub", "hub")
        return str(hub.hf_hub_url(file.model_id, file.path, revision=revision, endpoint=self._endpoint))

    def _headers(self) -> dict[str, str]:
        """Return what the library sends with its own requests: a token above all."""
        utils = library("huggingface_hub.utils", "hub")
        return dict(utils.build_hf_headers(library_name=LIBRARY_NAME))

    def _place(self) -> str:
        constants = library("huggingface_hub.constants", "hub")
        url = read_url(self._endpoint or constants.ENDPOINT)
        return url.place

    @contextlib.contextmanager
    def _faults(self, file: RemoteFile) -> Iterator[None]:
        """Turn the library's exceptions into ours."""
        httpx = library("huggingface_hub.utils", "hub").httpx
        errors = library("huggingface_hub.errors", "hub")
        try:
            yield
        except ModelFileError:
            raise
        except errors.HfHubHTTPError as exc:
            raise error_of_hub(exc, file.uri) from None
        except errors.OfflineModeIsEnabled:
            raise SourceUnavailableError(f"{file.uri}: HF_HUB_OFFLINE is set") from None
        except errors.HFValidationError as exc:
            raise InvalidReferenceError(f"{file.uri}: {exc}") from None
        except httpx.TimeoutException:
            raise SourceUnavailableError(f"{file.uri}: the hub does not answer in time") from None
        except httpx.HTTPError as exc:
            raise SourceUnavailableError(
                f"{file.uri}: the hub cannot be reached: {type(exc).__name__}"
            ) from None
        except OSError as exc:
            raise SourceUnavailableError(f"{file.uri}: the hub cannot be reached: {exc.strerror}") from None


def hub_names(uri: str) -> tuple[str, str, str | None]:
    """Return the repository, the file in it and the revision that a reference names.

    The revision stands at the end, or behind the repository as the hub's library writes it.

    Raises:
        InvalidReferenceError: it is no reference of a model's file.
    """
    match = _NAMED.fullmatch(uri)
    if match is None or match[1].partition("/")[0] in _NO_MODELS:
        raise InvalidReferenceError(f"{shown(uri)!r} names no file: expected hf://owner/name/file[@revision]")
    model_id, revision, path = match.groups()
    if revision is None and "@" in path:
        path, _, revision = path.rpartition("@")
    if revision is not None:
        check_path(revision)
    return check_path(model_id), check_path(path), revision


def _stat_of(metadata: Any) -> RemoteStat:
    """Return what the hub tells: the ETag is the digest of a large file, git's own of a small one."""
    etag = str(metadata.etag)
    sha256 = etag if is_sha256(etag) else None
    return RemoteStat(size=metadata.size, validator=etag, sha256=sha256)
