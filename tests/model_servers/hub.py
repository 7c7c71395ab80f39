"""A hub on loopback: what the library asks of huggingface.co, over models in memory.

Large files redirect to a second server, on another address, by signed links: as the hub's do to its CDN.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from model_servers.web import Answer, Request, WebServer, etag_of, file_answer

TOKEN = "hf_a_token_of_these_tests"
SIGNATURE = "Signature=of-the-cdn"
_RESOLVE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_API = re.compile(r"/api/models/(?P<model>[^/]+/[^/]+)(?:/(?P<kind>tree|revision)/(?P<revision>[^/?]+))?")


@dataclass
class HubModel:
    """One repository."""

    files: dict[str, bytes]
    revisions: tuple[str, ...] = ("main",)
    private: bool = False
    gated: bool = False

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for path, content in sorted(self.files.items()):
            digest.update(path.encode() + content)
        return digest.hexdigest()


@dataclass
class Hub:
    """The models and the two servers."""

    models: dict[str, HubModel] = field(default_factory=dict)
    large: int = 10_000
    """Bytes from which on a file is served by the CDN."""
    broken: dict[str, Answer] = field(default_factory=dict)
    """Path of a file → what is answered in place of its bytes, once."""

    def __post_init__(self) -> None:
        self.cdn = WebServer(self._cdn_answer, "127.0.0.2")
        self.server = WebServer(self._answer)
        self.url = self.server.url

    def close(self) -> None:
        self.server.close()
        self.cdn.close()

    def add_folder(self, model: str, folder: Path) -> None:
        """Serve a folder as a model."""
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        self.models[model] = HubModel(files)

    def _answer(self, request: Request) -> Answer:
        target = request.target.partition("?")[0]
        match = _RESOLVE.fullmatch(target) or _API.fullmatch(target)
        if match is None:
            return Answer(404)
        parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
        model = self.models.get(parts["model"])
        allowed = request.headers.get("authorization") == f"Bearer {TOKEN}"
        if model is None or (model.private and not allowed):
            return _refusal(401, "RepoNotFound")
        if model.gated and not allowed:
            return _refusal(403, "GatedRepo")
        if parts.get("revision", "main") not in {*model.revisions, model.commit}:
            return _refusal(404, "RevisionNotFound")
        return self._file(request, model, parts["path"]) if "path" in parts else _api(model, parts)

    def _file(self, request: Request, model: HubModel, path: str) -> Answer:
        content = model.files.get(path)
        if content is None:
            return _refusal(404, "EntryNotFound", model.commit)
        if request.method == "GET" and path in self.broken:
            return self.broken.pop(path)
        headers = {"X-Repo-Commit": model.commit}
        if len(content) < self.large:
            answer = file_answer(request, content, f'"{_git_id(content)}"')
            answer.headers |= headers
            return answer
        digest = hashlib.sha256(content).hexdigest()
        headers |= {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        return Answer(302, {**headers, "Location": f"{self.cdn.url}/{digest}?{SIGNATURE}"})

    def _cdn_answer(self, request: Request) -> Answer:
        path, _, query = request.target.partition("?")
        contents = {hashlib.sha256(c).hexdigest(): c for m in self.models.values() for c in m.files.values()}
        content = contents.get(path.strip("/"))
        if content is None or query != SIGNATURE:
            return Answer(403)
        broken = self.broken.pop(path.strip("/"), None)
        return broken or file_answer(request, content, etag_of(content))


def _api(model: HubModel, parts: dict[str, str]) -> Answer:
    if parts.get("kind") != "tree":
        facts = {
            "id": parts["model"],
            "sha": model.commit,
            "private": model.private,
            "downloads": 0,
            "likes": 0,
        }
        facts["siblings"] = [{"rfilename": path} for path in model.files]
        return _json(facts)
    return _json(
        [
            {"type": "file", "path": path, "size": len(content), "oid": _git_id(content)}
            for path, content in model.files.items()
        ]
    )


def _json(facts: object) -> Answer:
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(facts).encode())


def _refusal(status: int, code: str, commit: str | None = None) -> Answer:
    headers = {"X-Error-Code": code, "X-Error-Message": code}
    return Answer(status, headers | ({"X-Repo-Commit": commit} if commit else {}))


def _git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextlib.contextmanager
def hub_of(**models: HubModel) -> Iterator[Hub]:
    """Serve models; "__" in a keyword stands for the slash."""
    hub = Hub({name.replace("__", "/"): model for name, model in models.items()})
    try:
        yield hub
    finally:
        hub.close()
