"""`models fetch`: brings models into the cache before a worker needs them."""

import argparse
import time

from model_files.base import ModelRef
from model_files.names import shown
from model_files.progress import size_text
from worker.cli.failures import STATUS_OK, STATUS_USAGE, CommandFailed
from worker.cli.models_cache import explained, providers_of
from worker.cli.progress import Progress
from worker.cli.terminal import STDERR, note

_BAR_COLUMNS = 20
_REDRAW_S = 0.1
_LINE_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the references."""
    parser.add_argument("references", metavar="REF", nargs="+", help="as `path` of a model: modelcache://…")
    parser.add_argument("--sha256", metavar="HEX", help="the digest that the one file must have")


def run(arguments: argparse.Namespace) -> int:
    """Fetch one after the other, and print where each lies."""
    if arguments.sha256 and len(arguments.references) > 1:
        raise CommandFailed(
            "--sha256 is of one file", "several references were given", "name one", status=STATUS_USAGE
        )
    providers = providers_of(arguments)
    for reference in arguments.references:
        watch = TransferProgress()
        try:
            with explained(f"{shown(reference)} cannot be fetched"):
                files = providers.resolve(ModelRef(reference, arguments.sha256), watch)
        finally:
            watch.close()
        print(files.path)
    return STATUS_OK


class TransferProgress:
    """Draws a bar with the rate and what is left on a terminal; elsewhere a line every few seconds."""

    cancelled = False

    def __init__(self) -> None:
        self._line = Progress()
        self._uri = ""
        self._began = self._told = 0.0
        self._first = 0

    def report(self, uri: str, done: int, total: int | None) -> None:
        """Show how far a file has come."""
        now = time.perf_counter()
        if uri != self._uri:
            self._uri, self._began, self._first, self._told = uri, now, done, now
        every_s = _REDRAW_S if STDERR.is_terminal else _LINE_EVERY_S
        is_whole = done == total
        if now - self._told < every_s and not is_whole:
            return
        self._told = now
        rate = (done - self._first) / max(now - self._began, 1e-6)
        text = f"{_amount(done, total)}  {rate / 1e6:.1f} MB/s{_left(done, total, rate)}  {uri}"
        if STDERR.is_terminal:
            self._line.status(f"{_bar(done, total)}  {text}")
        else:
            note(text)

    def close(self) -> None:
        """Take the bar away."""
        self._line.clear()


def _bar(done: int, total: int | None) -> str:
    filled = _BAR_COLUMNS * done // total if total else 0
    return "█" * filled + "░" * (_BAR_COLUMNS - filled)


def _amount(done: int, total: int | None) -> str:
    return size_text(done) if total is None else f"{size_text(done)} of {size_text(total)}"


def _left(done: int, total: int | None, rate: float) -> str:
    if total is None or rate <= 0 or done >= total:
        return ""
    seconds = round((total - done) / rate)
    return f"  {seconds // 60}:{seconds % 60:02d} left"
