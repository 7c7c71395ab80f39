"""Gets a model's files from wherever they live, by reference."""

import re
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from model_files.base import ModelFileProvider, ModelFiles, ModelRef
from model_files.errors import UnsupportedSchemeError

PROVIDERS: dict[str, str] = {
    "": "model_files.local:LocalFiles",
    "file": "model_files.local:LocalFiles",
    "fake": "model_files.fake:FakeModelFiles",
}
"""URI scheme, "" for a plain path → "module:Class" of its provider, imported when first asked for."""

PLANNED_SCHEMES = frozenset({"hf", "modelcache", "http", "https", "s3"})
"""Schemes that the protocol names and this version has no provider for."""

ENTRY_POINT_GROUP = "inferpipe.model_files"
"""Entry points by which other distributions add schemes; they cannot replace a built-in one."""

# Two letters at least: C:\model.onnx is a path on a drive, not a URI.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")


def resolve(ref: ModelRef) -> ModelFiles:
    """Return a model's files on the local disk.

    Raises:
        ModelFileError: by the subclass that says what went wrong.
    """
    return provider_for(ref.uri).local_files(ref)


def provider_for(uri: str) -> ModelFileProvider:
    """Return the provider of a reference's scheme.

    Raises:
        UnsupportedSchemeError: there is none.
    """
    scheme = scheme_of(uri)
    target = PROVIDERS.get(scheme) or _registered(scheme) or _as_plain_path(uri)
    if target is not None:
        module, _, name = target.partition(":")
        return cast("ModelFileProvider", getattr(import_module(module), name)())
    if scheme in PLANNED_SCHEMES:
        raise UnsupportedSchemeError(f"{scheme}: references are not available in this version: {uri}")
    known = ", ".join(sorted({*PROVIDERS, *PLANNED_SCHEMES} - {""}))
    raise UnsupportedSchemeError(f"unknown scheme {scheme!r} in {uri!r}: expected a path or one of {known}")


def scheme_of(uri: str) -> str:
    """Return the scheme of a reference in lower case, "" for a plain path."""
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def _registered(scheme: str) -> str | None:
    return next((entry.value for entry in entry_points(group=ENTRY_POINT_GROUP, name=scheme)), None)


def _as_plain_path(uri: str) -> str | None:
    """Return the local provider where a file of exactly this name is there: colons are legal in names."""
    try:
        return PROVIDERS[""] if Path(uri).exists() else None
    except OSError:
        return None
