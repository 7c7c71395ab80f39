"""What the hub's library asks by its URLs. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from urllib.parse import unquote


class Kind(Enum):
    """What is asked for."""

    FILE = auto()
    """A file of a model, or just its head."""
    MODEL = auto()
    """A model and the commit that a revision of it is."""
    TREE = auto()
    """What is in a folder of a model."""
    OTHER = auto()
    """Anything else, of which a provider knows nothing."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request, understood."""

    kind: Kind
    model_id: str = ""
    """"owner/name", or "name"."""
    revision: str = "main"
    path: str = ""
    """Of a file, or of a folder: "" is all of the model's."""
    recursive: bool = False


OTHER = Question(Kind.OTHER)

_MODEL_ID = r"(?P<model_id>[^/]+(?:/[^/]+)?)"
_PATTERNS = (
    (Kind.TREE, re.compile(rf"/api/models/{_MODEL_ID}/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?")),
    (Kind.MODEL, re.compile(rf"/api/models/{_MODEL_ID}/revision/(?P<revision>[^/]+)")),
    (Kind.MODEL, re.compile(rf"/api/models/{_MODEL_ID}")),
    (Kind.OTHER, re.compile(r"/api/.*")),
    (Kind.OTHER, re.compile(r"/(?:datasets|spaces|kernels)/.*")),
    (Kind.FILE, re.compile(rf"/{_MODEL_ID}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")),
)
"""The first that matches a whole path says what it is."""


def read_question(method: str, path: str, query: Mapping[str, str]) -> Question:
    """Read a request.

    Args:
        method: of HTTP.
        path: of the URL, encoded, without the part that belongs to the hub's own address.
        query: its parameters.
    """
    if method not in {"GET", "HEAD"}:
        return OTHER
    for kind, pattern in _PATTERNS:
        match = pattern.fullmatch(path)
        if match:
            parts = {name: unquote(value) for name, value in match.groupdict().items() if value}
            return Question(kind, **parts, recursive=query.get("recursive", "").lower() == "true")
    return OTHER
