"""`models list`: what is in the cache, from where, and when it was last used and found intact."""

import argparse
import json
from dataclasses import dataclass

from model_files.progress import size_text
from model_files.store import Store
from model_files.store_entries import Entry
from worker.cli.failures import STATUS_OK
from worker.cli.models_cache import age_text, providers_of
from worker.cli.table import table
from worker.cli.terminal import STDOUT, columns, note

_HEAD = ("model", "file", "size", "source", "last used", "verified")
_WORDS = (0, 1, 3)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in the cache."""

    entry: Entry
    last_used: float | None
    """Unix time; None where its content is gone."""
    verified: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how it is told."""
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Print the table, or the same as JSON."""
    store = providers_of(arguments).store
    kept = kept_in(store)
    if arguments.json:
        print(json.dumps(_fields(store, kept), indent=2, ensure_ascii=False))
        return STATUS_OK
    if not kept:
        note(f"nothing is in the cache {store.folder}")
        return STATUS_OK
    rows = [_row(one) for one in kept]
    print(table(_HEAD, rows, width=columns() if STDOUT.is_terminal else None, words=_WORDS))
    total = sum(blob.size for blob in store.blobs())
    print(f"\n{len(kept)} files, {size_text(total)} in {store.folder}")
    return STATUS_OK


def kept_in(store: Store) -> list[Kept]:
    """Return the files of a cache, by model and name."""
    used = {blob.sha256: store.last_used(blob) for blob in store.blobs()}
    kept = []
    for _, entry in store.entries():
        seal = store.seal(entry.sha256)
        kept.append(Kept(entry, used.get(entry.sha256), seal.verified if seal else None))
    return sorted(kept, key=lambda one: (one.entry.model_id, one.entry.path, one.entry.place))


def _row(one: Kept) -> list[str]:
    entry = one.entry
    revision = f"@{entry.revision}" if entry.revision else ""
    source = f"{entry.scheme}://{entry.place}"
    used = age_text(one.last_used) if one.last_used is not None else "gone"
    return [
        entry.model_id + revision,
        entry.path,
        size_text(entry.size),
        source,
        used,
        age_text(one.verified),
    ]


def _fields(store: Store, kept: list[Kept]) -> dict[str, object]:
    files = [
        {
            "model": one.entry.model_id,
            "file": one.entry.path,
            "revision": one.entry.revision,
            "source": f"{one.entry.scheme}://{one.entry.place}",
            "uri": one.entry.uri,
            "sha256": one.entry.sha256,
            "bytes": one.entry.size,
            "fetched": one.entry.fetched,
            "confirmed": one.entry.confirmed,
            "lastUsed": one.last_used,
            "verified": one.verified,
        }
        for one in kept
    ]
    return {
        "cacheDir": str(store.folder),
        "bytes": sum(blob.size for blob in store.blobs()),
        "files": files,
    }
