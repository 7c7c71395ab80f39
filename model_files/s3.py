"""`s3:` references: objects of S3 and of what speaks like it, through boto3."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from model_files.errors import InvalidReferenceError, SourceFailedError
from model_files.extras import library
from model_files.http_client import CHUNK_BYTES, keep_quiet
from model_files.names import check_path, shown
from model_files.s3_errors import OtherContentError, error_of_s3
from model_files.s3_stat import stat_of_object, stat_of_part
from model_files.settings import ProviderSettings
from model_files.source import RemoteFile, RemoteStat, Transfer

MAX_LISTED = 10_000
"""Objects beside a model, above which what lies there is no model's folder."""


class S3Source:
    """Objects by bucket and key. Credentials come from where the library looks for them."""

    revalidates = True

    def __init__(self, settings: ProviderSettings) -> None:
        """Set it up; nothing is imported or opened yet."""
        self._settings = settings.s3
        self._stall_s = settings.stall_s
        self._guard = threading.Lock()
        self._made: Any = None

    def locate(self, uri: str) -> RemoteFile:
        bucket, _, key = uri.partition("://")[2].partition("/")
        if not bucket or not key or "@" in bucket or ":" in bucket:
            raise InvalidReferenceError(f"{shown(uri)!r} names no object: expected s3://bucket/key")
        folder, _, name = check_path(key).rpartition("/")
        return RemoteFile(scheme="s3", place=bucket, model_id=folder, path=name)

    def stat(self, file: RemoteFile) -> RemoteStat:
        with _faults(file):
            answer = self._client().head_object(Bucket=file.place, Key=_key(file), ChecksumMode="ENABLED")
        return stat_of_object(answer)

    @contextlib.contextmanager
    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None) -> Iterator[Transfer]:
        start = offset if offset and validator is not None else 0
        answer = self._rest(file, start, validator) if start else None
        if answer is None:
            start, answer = 0, self._get(file)
        with contextlib.closing(answer["Body"]) as body:
            stat = stat_of_part(answer, start, file.uri) if start else stat_of_object(answer)
            yield Transfer(stat, start, _chunks_of(body, file))

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        prefix = f"{file.model_id}/" if file.model_id else ""
        pages = (
            self._client()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=file.place, Prefix=prefix, PaginationConfig={"MaxItems": MAX_LISTED + 1})
        )
        with _faults(file):
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        if len(keys) > MAX_LISTED:
            return None
        # Consoles keep empty folders as objects whose keys end with a slash.
        return tuple(key.removeprefix(prefix) for key in keys if not key.endswith("/"))

    def _rest(self, file: RemoteFile, start: int, validator: str | None) -> Any:
        """Open the rest of an object; None where it is another one by now."""
        try:
            answer = self._get(file, Range=f"bytes={start}-", IfMatch=validator)
        except OtherContentError:
            return None
        if answer.get("ETag") == validator:
            return answer
        answer["Body"].close()  # not every server heeds If-Match
        return None

    def _get(self, file: RemoteFile, **condition: Any) -> Any:
        with _faults(file):
            return self._client().get_object(Bucket=file.place, Key=_key(file), **condition)

    def _client(self) -> Any:
        """Return the client, which threads may share; making it they may not."""
        with self._guard:
            if self._made is None:
                self._made = self._new_client()
            return self._made

    def _new_client(self) -> Any:
        boto3 = library("boto3", "s3")
        keep_quiet("botocore", "urllib3")
        botocore = library("botocore", "s3")
        config = library("botocore.config", "s3").Config(
            connect_timeout=self._stall_s,
            read_timeout=self._stall_s,
            # Whoever fetches tries again, and goes on where the transfer broke off.
            retries={"total_max_attempts": 1},
            signature_version=botocore.UNSIGNED if self._settings.anonymous else None,
            s3={"addressing_style": "path" if self._settings.path_style else "auto"},
            response_checksum_validation="when_required",
            user_agent_extra="inferpipe",
        )
        try:
            return boto3.session.Session().client(
                "s3", endpoint_url=self._settings.endpoint, region_name=self._settings.region, config=config
            )
        except (ValueError, library("botocore.exceptions", "s3").BotoCoreError) as exc:
            raise SourceFailedError(f"the settings of S3 cannot be used: {exc}") from exc


def _key(file: RemoteFile) -> str:
    return f"{file.model_id}/{file.path}" if file.model_id else file.path


def _chunks_of(body: Any, file: RemoteFile) -> Iterator[bytes]:
    """Yield an object's bytes as they come."""
    with _faults(file):
        yield from filter(None, body.iter_chunks(CHUNK_BYTES))


@contextlib.contextmanager
def _faults(file: RemoteFile) -> Iterator[None]:
    """Turn the library's exceptions into ours."""
    botocore = library("botocore.exceptions", "s3")
    urllib3 = library("urllib3.exceptions", "s3")
    try:
        yield
    except (botocore.ClientError, botocore.BotoCoreError, urllib3.HTTPError, OSError) as exc:
        raise error_of_s3(exc, file.uri) from None
