"""`python -m worker detect`: a model of yours on pictures of yours."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from worker.cli.chosen_model import add_model_arguments, handshake, introduce, request_options, serving_slot
from worker.cli.failures import STATUS_FAILED, STATUS_OK
from worker.cli.hosting import hosted
from worker.cli.pictures import PictureFile, find
from worker.cli.progress import Progress
from worker.cli.terminal import STDOUT, printable, wrapped

if TYPE_CHECKING:
    from worker.cli.detecting import Outcome

_MOST_IN_FLIGHT = 256
"""The worker's own limit of requests that are not yet answered."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to look at, with which model, and where the results go."""
    parser.add_argument(
        "pictures", nargs="+", metavar="IMAGE|FOLDER|GLOB", help="JPEG, PNG or WebP files, or where they are"
    )
    add_model_arguments(parser)
    output = parser.add_argument_group("where it goes")
    output.add_argument("--out", metavar="DIR", type=Path, help="write copies with boxes drawn in")
    output.add_argument(
        "--json", action="store_true", help="JSON lines, one a picture (default where stdout is no terminal)"
    )
    output.add_argument(
        "--in-flight", metavar="N", type=_count, default=4, help="pictures sent ahead (%(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Detect, and report; 0 where every picture was answered."""
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    # Needs OpenCV, which help does not; where it is missing, that shows before a worker is spawned in vain.
    from worker.cli.annotations import AnnotatedCopies  # noqa: PLC0415
    from worker.cli.detecting import Detector, refusals  # noqa: PLC0415

    found = find(arguments.pictures)
    files = [one.path for one in found if isinstance(one, PictureFile)]
    config = handshake(arguments)
    copies = AnnotatedCopies(arguments.out, files) if arguments.out else None
    if not files:
        return await _report(arguments, refusals(found), len(found))
    progress = Progress()
    progress.status(f"loading {Path(arguments.model).name} …")
    try:
        async with hosted(config, debug=arguments.debug) as worker:
            progress.clear()
            slot = serving_slot(arguments.model, worker.ready)
            introduce(slot, arguments.model, draws=bool(arguments.out))
            detector = Detector(worker, request_options(arguments, slot["labels"]), copies)
            return await _report(arguments, detector.outcomes(found, arguments.in_flight), len(found))
    finally:
        progress.clear()


async def _report(arguments: argparse.Namespace, outcomes: "AsyncIterator[Outcome]", total: int) -> int:
    """Tell of every outcome, and return the exit status."""
    from worker.cli.reports import JsonLines, SummaryTable, failure_line  # noqa: PLC0415 - as above

    report = JsonLines() if arguments.json or not STDOUT.stream.isatty() else SummaryTable()
    progress, done, failed = Progress(), 0, 0
    async for outcome in outcomes:
        done, failed = done + 1, failed + outcome.failed
        progress.clear()
        if outcome.failed:
            print(failure_line(outcome), file=sys.stderr)
        report.add(outcome)
        progress.advance(done, total, outcome.name)
    progress.clear()
    report.finish()
    if arguments.out and done > failed:
        print(wrapped(f"copies with boxes are in {printable(arguments.out)}/", 0), file=sys.stderr)
    return STATUS_FAILED if failed else STATUS_OK


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_IN_FLIGHT}, got {text!r}")
    return int(text)
