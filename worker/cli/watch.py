"""`python -m worker watch`: a model of yours on a video, a camera or the screen, frame by frame."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from protocol.stream_open import StreamOptions
from worker.cli.chosen_model import (
    add_model_arguments,
    handshake,
    introduce,
    number_within,
    request_options,
    serving_slot,
)
from worker.cli.failures import STATUS_FAILED, STATUS_OK, CommandFailed
from worker.cli.hosting import hosted
from worker.cli.progress import Progress
from worker.cli.terminal import STDOUT, printable, wrapped
from worker.cli.watch_source import Watched, check, parse
from worker.client import WorkerClient, WorkerError

if TYPE_CHECKING:
    from worker.cli.watch_local import Outputs
    from worker.cli.watch_report import Watcher
    from worker.cli.watch_stream import Run

_EPILOG = """\
SOURCE is a video file, a URL (rtsp, http), camera:0, screen,
screen:x,y,width,height, or - for a container on stdin. Ctrl-C ends it: the
summary is still told, and the video of --out holds what was seen.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what to watch, with which model, which frames, and where the results go."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    parser.add_argument("source", metavar="SOURCE", type=parse, help="what to watch")
    add_model_arguments(parser)
    frames = parser.add_argument_group("which frames")
    frames.add_argument("--every-nth", metavar="N", type=_count, default=1, help="frames 0, N, 2N, …")
    frames.add_argument(
        "--max-fps",
        metavar="F",
        type=number_within(0.001, 1000.0),
        help="so many a second of the video at most",
    )
    frames.add_argument("--keyframes-only", action="store_true", help="those that stand by themselves")
    frames.add_argument("--frames", metavar="N", type=_count, help="end after so many")
    frames.add_argument("--hwaccel", metavar="H", help="decode by auto, cuda, vaapi, … (software)")
    output = parser.add_argument_group("where it goes")
    output.add_argument(
        "--out", metavar="FILE", type=Path, help="write a video with boxes: .mp4, .mov, .mkv, .webm"
    )
    output.add_argument("--force", action="store_true", help="--out may replace a file")
    output.add_argument("--show", action="store_true", help="show it in a window; q ends it")
    output.add_argument(
        "--json", action="store_true", help="JSON lines, one a frame (default where stdout is no terminal)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Watch, and report; 0 where the source came to its end and every frame was answered."""
    return asyncio.run(_run(arguments))


async def _run(arguments: argparse.Namespace) -> int:
    watched: Watched = arguments.source
    outputs = _outputs(arguments, watched) if arguments.out or arguments.show else None
    check(watched, here=outputs is not None)
    config = handshake(arguments)
    progress = Progress()
    progress.status(f"loading {Path(arguments.model).name} …")
    try:
        async with hosted(config, debug=arguments.debug) as worker:
            progress.clear()
            slot = serving_slot(arguments.model, worker.ready)
            introduce(slot, arguments.model, draws=outputs is not None)
            async with _running(worker, arguments, slot["labels"], outputs) as running:
                return await _report(running, arguments)
    finally:
        progress.clear()


def _outputs(arguments: argparse.Namespace, watched: Watched) -> "Outputs":
    """Return where frames go, once it is known that they can."""
    from worker.cli.watch_outputs import outputs  # noqa: PLC0415 - needs OpenCV and PyAV, which help does not

    return outputs(arguments.out, watched, force=arguments.force, show=arguments.show)


@asynccontextmanager
async def _running(
    worker: WorkerClient, arguments: argparse.Namespace, labels: list[str], outputs: "Outputs | None"
) -> "AsyncIterator[Run]":
    """Give what is watched; at the end the video is finished, however that came."""
    chosen = StreamOptions(
        max_fps=arguments.max_fps,
        every_nth=arguments.every_nth,
        keyframes_only=arguments.keyframes_only,
        hwaccel=arguments.hwaccel,
    )
    wanted = msgspec.structs.replace(request_options(arguments, labels), exif=False)
    if outputs is None:
        from worker.cli.watch_stream import StreamedRun  # noqa: PLC0415 - help does not need it

        yield StreamedRun(worker, arguments.source, chosen, wanted)
        return
    from worker.cli.watch_local import LocalRun  # noqa: PLC0415 - as above

    try:
        yield LocalRun(worker, arguments.source, chosen, wanted, outputs)
    finally:
        if outputs.finish():
            print(wrapped(f"the video with boxes is {printable(arguments.out)}", 0), file=sys.stderr)


async def _report(running: "Run", arguments: argparse.Namespace) -> int:
    """Tell of every frame, and return the exit status."""
    from worker.cli.watch_report import JsonLines, SummaryTable, Watcher  # noqa: PLC0415 - as above

    as_json = arguments.json or not STDOUT.stream.isatty()
    watcher = Watcher(JsonLines() if as_json else SummaryTable())
    try:
        await _follow(running, watcher, arguments.frames)
    except Exception as error:
        failure = _explained(error, arguments.source, watcher.tally.frames)
        if failure is None:
            raise
        raise failure from error
    finally:
        watcher.finish(running.dropped)
    if not watcher.tally.frames:
        then = "try it without --every-nth, --max-fps and --keyframes-only"
        raise CommandFailed(f"{arguments.source.name} gave no frame", "it ended before there was one", then)
    return STATUS_FAILED if watcher.tally.failed else STATUS_OK


async def _follow(running: "Run", watcher: "Watcher", most: int | None) -> None:
    async with aclosing(running.events()) as events:
        async for event in events:
            watcher.take(event, running.dropped)
            if watcher.tally.frames == most:
                return


def _explained(error: Exception, watched: Watched, frames: int) -> CommandFailed | None:
    """Return what ended a stream in words for a person; None where it was no stream's fault."""
    from streaming.errors import SourceUnavailableError, StreamError  # noqa: PLC0415 - as above
    from worker.cli.watch_failures import stream_failure  # noqa: PLC0415
    from worker.errors import failure_of  # noqa: PLC0415

    if isinstance(error, WorkerError):
        return stream_failure(watched, frames, error.code, error.text, error.answer.get("reason"))
    if isinstance(error, StreamError):
        reason = error.reason if isinstance(error, SourceUnavailableError) else None
        return stream_failure(watched, frames, failure_of(error).code, str(error), reason)
    return None


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_FRAMES:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_FRAMES}, got {text!r}")
    return int(text)


_MOST_FRAMES = 1_000_000
