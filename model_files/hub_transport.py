"""Answers the requests of the hub's library out of a provider: no socket is opened.

Imports that library; for `hub_interception.py` alone.
"""

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from huggingface_hub.utils._http import default_client_factory

from model_files.errors import MissingFileError
from model_files.hub import LIBRARY_NAME
from model_files.hub_questions import Kind, Question, read_question
from model_files.hub_repository import Held, Repositories, entries_in, identity_of

if TYPE_CHECKING:
    import httpx2 as httpx
else:
    from huggingface_hub.utils import httpx  # httpx or httpx2, by the library's version

_CHUNK_BYTES = 1 << 20
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class FileStream(httpx.SyncByteStream):
    """A part of a file as the body of an answer."""

    def __init__(self, path: Path, first: int, length: int) -> None:
        self._path = path
        self._first = first
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        """Yield it in pieces."""
        left = self._length
        with self._path.open("rb") as file:
            file.seek(self._first)
            while left and (chunk := file.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


class ProviderTransport(httpx.BaseTransport):
    """Stands where the library would open connections. Used by several threads."""

    def __init__(self, repositories: Repositories, cache_dir: Path, endpoint: str | None) -> None:
        """Set it up.

        Args:
            repositories: where the answers come from.
            cache_dir: the library's cache, into which files are linked before it asks for their bytes.
            endpoint: of the hub, as the library is configured, for the path that its address may have.
        """
        self._repositories = repositories
        self._cache_dir = cache_dir
        self._prefix = urlsplit(endpoint or constants.ENDPOINT).path.rstrip("/")
        self._guard = threading.Lock()
        self._direct: list[httpx.Client] = []
        self._answers: dict[Kind, Callable[[httpx.Request, Question], httpx.Response]] = {
            Kind.FILE: self._file,
            Kind.MODEL: self._model,
            Kind.TREE: self._tree,
            Kind.OTHER: self._other,
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer; errors of the provider go through to whoever called the library."""
        if LIBRARY_NAME in request.headers.get("user-agent", ""):
            # The provider itself asks a hub.
            return self._client().send(request, stream=True, follow_redirects=False)
        path = request.url.raw_path.decode("ascii").partition("?")[0].removeprefix(self._prefix)
        question = read_question(request.method, path, dict(request.url.params))
        try:
            return self._answers[question.kind](request, question)
        except MissingFileError as exc:
            return _refusal("RepoNotFound", str(exc))

    def shut(self) -> None:
        """Close the connections of the provider's own requests."""
        with self._guard:
            for client in self._direct:
                client.close()
            self._direct.clear()

    def _client(self) -> httpx.Client:
        with self._guard:
            if not self._direct:
                self._direct.append(default_client_factory())
            return self._direct[0]

    def _file(self, request: httpx.Request, question: Question) -> httpx.Response:
        held = self._repositories.get(question.model_id, question.revision)
        path = held.repository.path(question.path)
        if path is None:
            return _refusal("EntryNotFound", f"no file {question.path}", held.commit)
        etag = identity_of(path)
        size = path.stat().st_size
        headers = {
            constants.HUGGINGFACE_HEADER_X_REPO_COMMIT: held.commit,
            "ETag": f'"{etag}"',
            "Accept-Ranges": "bytes",
        }
        if request.method == "HEAD":
            self._link(question.model_id, etag, path)
            return httpx.Response(200, headers={**headers, "Content-Length": str(size)})
        return _body(path, size, request.headers.get("range", ""), headers)

    def _model(self, request: httpx.Request, question: Question) -> httpx.Response:
        held = self._repositories.get(question.model_id, question.revision)
        facts: dict[str, Any] = {
            "id": question.model_id,
            "sha": held.commit,
            "private": False,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
        }
        listing = held.repository.listing()
        if listing is not None:
            facts["siblings"] = [{"rfilename": name} for name in listing]
        return httpx.Response(200, json=facts)

    def _tree(self, request: httpx.Request, question: Question) -> httpx.Response:
        held = self._repositories.get(question.model_id, question.revision)
        files, folders = entries_in(held.repository.names(), question.path, recursive=question.recursive)
        if question.path and not files and not folders:
            return _refusal("EntryNotFound", f"no folder {question.path}", held.commit)
        entries = [_tree_file(held, name) for name in files]
        entries += [{"type": "directory", "path": name, "oid": held.commit} for name in folders]
        return httpx.Response(200, json=entries)

    def _other(self, request: httpx.Request, question: Question) -> httpx.Response:
        return _refusal("", "the hub is not asked: a model file provider is in its place")

    def _link(self, model_id: str, etag: str, path: Path) -> None:
        """Put a file where the library looks for it before it asks for the bytes: no second copy is made.

        Where links cannot be made the library asks, and gets the bytes.
        """
        folder = self._cache_dir / repo_folder_name(repo_id=model_id, repo_type="model") / "blobs"
        link = folder / etag
        with contextlib.suppress(OSError):
            if link.exists():
                return
            link.unlink(missing_ok=True)  # to what has been evicted meanwhile
            folder.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path.resolve())


class RefusingTransport(httpx.AsyncBaseTransport):
    """For the library's asynchronous clients, which fetch no models."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Refuse."""
        return _refusal("", "the hub is not asked: a model file provider is in its place")


def _tree_file(held: Held, name: str) -> dict[str, Any]:
    return {"type": "file", "path": name, "size": held.repository.size(name), "oid": held.commit}


def _body(path: Path, size: int, asked: str, headers: dict[str, str]) -> httpx.Response:
    match = _RANGE.fullmatch(asked)
    if match is None:
        headers["Content-Length"] = str(size)
        return httpx.Response(200, headers=headers, stream=FileStream(path, 0, size))
    first, last = int(match[1]), min(int(match[2] or size - 1), size - 1)
    if first > last:
        return httpx.Response(416, headers={**headers, "Content-Range": f"bytes */{size}"})
    length = last - first + 1
    headers |= {"Content-Length": str(length), "Content-Range": f"bytes {first}-{last}/{size}"}
    return httpx.Response(206, headers=headers, stream=FileStream(path, first, length))


def _refusal(code: str, text: str, commit: str | None = None) -> httpx.Response:
    """Return "not found" in the way that the library tells apart."""
    headers = {"X-Error-Message": text.encode("ascii", "replace").decode()}
    if code:
        headers["X-Error-Code"] = code
    if commit is not None:
        headers[constants.HUGGINGFACE_HEADER_X_REPO_COMMIT] = commit
    return httpx.Response(404, headers=headers, json={"error": text})
