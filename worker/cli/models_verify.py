"""`models verify`: reads all contents again, and throws away what is not what it was."""

import argparse

from model_files import Providers
from model_files.errors import ModelFileError
from model_files.progress import size_text
from model_files.remote import RemoteFiles
from model_files.store_blobs import Blob
from model_files.store_entries import Entry
from worker.cli.failures import STATUS_FAILED, STATUS_OK
from worker.cli.models_cache import explained, providers_of
from worker.cli.progress import Progress
from worker.cli.terminal import STDOUT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare whether it mends."""
    parser.add_argument("--repair", action="store_true", help="fetch what was corrupt again")


def run(arguments: argparse.Namespace) -> int:
    """Read everything; 0 where nothing is corrupt, or all of it could be fetched again."""
    providers = providers_of(arguments)
    store = providers.store
    known = store.entries()
    blobs = store.blobs()
    with explained("the cache cannot be read"):
        corrupt = _corrupt(providers, blobs)
    whole = len(blobs) - len(corrupt)
    print(f"contents intact: {whole}; {size_text(sum(blob.size for blob in blobs))} read")
    is_mended = True
    for digest in corrupt:
        named = [(key, entry) for key, entry in known if entry.sha256 == digest]
        if not named:
            print(f"{STDOUT.bad('corrupt')}  {digest}, of no file that is known: thrown away")
        for key, entry in named:
            outcome = _again(providers, key, entry) if arguments.repair else "thrown away"
            is_mended = is_mended and outcome == _MENDED
            print(f"{STDOUT.bad('corrupt')}  {entry.uri}: {outcome}")
    return STATUS_OK if not corrupt or (arguments.repair and is_mended) else STATUS_FAILED


_MENDED = "fetched again"


def _corrupt(providers: Providers, blobs: list[Blob]) -> list[str]:
    progress, found = Progress(), []
    lease = providers.store.lease()
    try:
        for number, blob in enumerate(blobs):
            progress.advance(number, len(blobs), blob.sha256[:12])
            if providers.store.find(blob.sha256, lease, rehash=True) is None:
                found.append(blob.sha256)
    finally:
        progress.clear()
    return found


def _again(providers: Providers, key: str, entry: Entry) -> str:
    try:
        provider = providers.provider_for(f"{entry.scheme}:")
        if isinstance(provider, RemoteFiles) and provider.fetch_again(key, entry) is not None:
            return _MENDED
    except ModelFileError as error:
        return f"thrown away, and cannot be fetched again: {error}"
    return "thrown away; its name alone does not lead to it, the next load fetches it"
