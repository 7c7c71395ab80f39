"""`http:` and `https:` references: files of any web server, gone on with where a transfer broke off."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from model_files.http_answers import (
    Body,
    error_of,
    is_strong,
    part_of,
    size_of_part,
    validator_of,
    whole_of,
)
from model_files.http_client import HttpClient, chunks_of
from model_files.http_urls import HttpFile, locate, url_of
from model_files.settings import ProviderSettings
from model_files.source import RemoteFile, RemoteStat, Transfer

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_NO_HEAD = frozenset({400, 403, 405, 501})
"""Answers to HEAD that leave open whether GET is answered: a signed link is often signed for GET alone."""


class HttpSource:
    """Files by their URLs. What lies beside a file is asked for by name: a web server does not list."""

    revalidates = True

    def __init__(self, settings: ProviderSettings) -> None:
        """Set it up; nothing is imported or opened yet."""
        self._headers = settings.http.headers
        self._client = HttpClient(settings.stall_s)

    def locate(self, uri: str) -> HttpFile:
        return locate(uri)

    def stat(self, file: RemoteFile) -> RemoteStat:
        with self._open("HEAD", file, {}) as response:
            if response.status == 200:
                length = response.headers.get("Content-Length", "")
                size = int(length) if length.isascii() and length.isdigit() else None
                return RemoteStat(size=size, validator=validator_of(response.headers))
            if response.status not in _NO_HEAD:
                raise error_of(response.status, response.headers, file.uri)
        return self._stat_by_get(file)

    @contextlib.contextmanager
    def fetch(self, file: RemoteFile, offset: int = 0, validator: str | None = None) -> Iterator[Transfer]:
        headers = {}
        if offset and validator is not None and is_strong(validator):
            headers = {"Range": f"bytes={offset}-", "If-Range": validator}
        with contextlib.ExitStack() as stack:
            response = stack.enter_context(self._open("GET", file, headers))
            if headers and not _goes_on(response, validator):
                stack.close()
                response = stack.enter_context(self._open("GET", file, {}))
            body = _body_of(response, offset, file.uri)
            yield Transfer(body.stat, body.offset, chunks_of(response, file.uri))

    def list_files(self, file: RemoteFile) -> tuple[str, ...] | None:
        return None

    def _stat_by_get(self, file: RemoteFile) -> RemoteStat:
        """Ask for one byte, and for no more than the head where the server sends all."""
        with self._open("GET", file, {"Range": "bytes=0-0"}) as response:
            if response.status == 206:
                return RemoteStat(size_of_part(response.headers), validator_of(response.headers))
            if response.status == 416:  # not even one byte
                return RemoteStat(size=0, validator=validator_of(response.headers))
            if response.status != 200:
                raise error_of(response.status, response.headers, file.uri)
            return whole_of(response.headers, file.uri).stat

    def _open(
        self, method: str, file: RemoteFile, headers: Mapping[str, str]
    ) -> contextlib.AbstractContextManager["BaseHTTPResponse"]:
        credentials = dict(self._headers)
        if isinstance(file, HttpFile) and file.authorization is not None:
            credentials["Authorization"] = file.authorization
        return self._client.open(method, url_of(file), file.uri, headers, credentials)


def _goes_on(response: "BaseHTTPResponse", validator: str | None) -> bool:
    """Whether an answer to a resumed request can be used.

    Not where the range is refused, and not where the server sends the rest of another content in spite of
    If-Range.
    """
    if response.status == 206:
        return response.headers.get("ETag", validator) == validator
    return response.status != 416


def _body_of(response: "BaseHTTPResponse", offset: int, uri: str) -> Body:
    if response.status == 206 and offset:
        return part_of(response.headers, offset, uri)
    if response.status == 200:
        return whole_of(response.headers, uri)
    raise error_of(response.status, response.headers, uri)
