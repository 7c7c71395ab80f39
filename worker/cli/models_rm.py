"""`models rm`: removes what is in the cache and not in use."""

import argparse
import re
import time

from model_files.progress import size_text
from model_files.store_entries import Entry
from worker.cli.failures import STATUS_FAILED, STATUS_OK, STATUS_USAGE, CommandFailed
from worker.cli.models_cache import explained, providers_of
from worker.cli.terminal import note, printable, program

_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([dhm])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what is to go: one of three."""
    parser.add_argument("references", metavar="REF", nargs="*", help="a file, a folder of files, or a model")
    parser.add_argument("--all", action="store_true", help="everything")
    parser.add_argument("--older-than", metavar="AGE", type=_age, help="unused for so long: 30d, 12h, 45m")


def run(arguments: argparse.Namespace) -> int:
    """Remove it, and tell how much room that made."""
    ways = (bool(arguments.references), arguments.all, arguments.older_than is not None)
    if sum(ways) != 1:
        raise CommandFailed(
            "it is not clear what is to go",
            "one of REF, --all and --older-than is needed",
            f"{program()} models list shows what there is",
            status=STATUS_USAGE,
        )
    store = providers_of(arguments).store
    if not store.folder.is_dir():
        note(f"nothing is in the cache {printable(store.folder)}")
        return STATUS_OK
    blobs = {blob.sha256: blob for blob in store.blobs()}
    if arguments.older_than is not None:
        limit = time.time() - arguments.older_than
        going = {digest for digest, blob in blobs.items() if store.last_used(blob) < limit}
    elif arguments.all:
        going = set(blobs)
    else:
        going = _named(arguments.references, [entry for _, entry in store.entries()])
    with explained("the cache cannot be cleared"):
        gone = store.remove(going)
    room = sum(blobs[digest].size for digest in gone if digest in blobs)
    print(f"contents removed: {len(gone)}, {size_text(room)}")
    kept = going - gone
    if kept:
        note(f"{len(kept)} are in use by a worker that runs, and stay")
    return STATUS_FAILED if kept else STATUS_OK


def _named(references: list[str], entries: list[Entry]) -> set[str]:
    """Return the contents that references name.

    Raises:
        CommandFailed: one names nothing.
    """
    going: set[str] = set()
    for reference in references:
        found = {entry.sha256 for entry in entries if _is_named(reference.rstrip("/"), entry)}
        if not found:
            then = f"{program()} models list shows what there is"
            raise CommandFailed(f"{reference} is not in the cache", "no file there has such a name", then)
        going |= found
    return going


def _is_named(reference: str, entry: Entry) -> bool:
    names = (*entry.references, entry.uri, f"{entry.model_id}/{entry.path}")
    return any(name == reference or name.startswith(reference + "/") for name in names)


def _age(text: str) -> float:
    match = _AGE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no age: 30d, 12h, 45m")
    return float(match[1]) * _UNITS[match[2]]
