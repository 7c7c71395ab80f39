"""`python -m worker demo`: the default model on scenes of its own, in every way a host can ask."""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from models import DEFAULT_MODEL, SCENES
from postprocessors.results import Detection
from preprocess.buffers import BufferPool
from preprocess.frame import Frame, Pixels
from preprocess.options import ChannelOrder, DecodeOptions
from protocol.messages import Picture
from protocol.pixel_format import PixelFormat
from worker.cli.chosen_model import serving_slot
from worker.cli.hosting import hosted
from worker.cli.score import recall
from worker.cli.table import table
from worker.cli.terminal import columns, wrapped
from worker.client import Answer, WorkerClient

ROUNDS = 4
"""How often each scene is sent in each way."""

CONFIG = {
    "protocol": 3,
    "runtime": "onnxruntime",
    "concurrency": 2,
    "batch_mode": "list",
    "models": [{"path": str(DEFAULT_MODEL), "confidence": 0.4}],
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture of the demo, encoded and raw, and what is on it."""

    name: str
    jpeg: bytes
    pixels: Pixels
    """BGR."""
    truth: list[dict[str, Any]]
    """`className` and `bbox` of each object."""

    @property
    def raw(self) -> Picture:
        """The pixels as they go over the pipe."""
        pixels = self.pixels
        return Picture(pixels.width, pixels.height, pixels.format, memoryview(pixels.array.data).cast("B"))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one way of sending gave."""

    way: str
    answers: list[Answer]
    """In the order of the scenes, repeated."""
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare where the pictures go."""
    parser.add_argument(
        "--out",
        metavar="DIR",
        type=Path,
        default=Path("demo-output"),
        help="folder for annotated pictures (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Show it."""
    return asyncio.run(run_demo(arguments.out, debug=arguments.debug))


async def run_demo(out: Path, *, debug: bool = False) -> int:
    """Send the scenes, print one answer and a table, and write pictures with boxes to `out`."""
    scenes = load_scenes()
    _say(f"spawning the worker with {DEFAULT_MODEL.name} …")
    async with hosted(CONFIG, debug=debug) as worker:
        slot = serving_slot(str(DEFAULT_MODEL), worker.ready)
        ready = f"ready in {worker.ready['startupMs']:.0f} ms on {slot['device']}; {slot['familyReason']}"
        _say(wrapped(ready, 0))
        outcomes = [await _timed(way, worker, scenes) for way in WAYS]
    first = outcomes[0].answers
    print(readable(first[0]))
    print()
    print(summary(outcomes, scenes))
    _write_pictures(scenes, first, out)
    _say(f"\n{len(scenes)} pictures with boxes are in {out}/")
    return 0


def readable(answer: Answer) -> str:
    """Return an answer as indented JSON, its innermost lists and objects on one line each."""
    text = msgspec.json.format(msgspec.json.encode(answer), indent=2).decode()
    return re.sub(r"[\[{][^\[\]{}]*[\]}]", lambda inner: re.sub(r"\s+", " ", inner[0]), text)


def load_scenes() -> list[Scene]:
    """Return the committed scenes, decoded."""
    truth = msgspec.json.decode((SCENES / "truth.json").read_bytes())
    return [_scene(SCENES / name, objects) for name, objects in sorted(truth.items())]


def _scene(path: Path, truth: list[dict[str, Any]]) -> Scene:
    from preprocess.decode import decode  # noqa: PLC0415 - needs OpenCV; help does not

    jpeg = path.read_bytes()
    frame = Frame(memoryview(jpeg), 0, 0, PixelFormat.ENCODED)
    return Scene(path.name, jpeg, decode(frame, DecodeOptions(), BufferPool(0)), truth)


async def _timed(way: str, worker: WorkerClient, scenes: Sequence[Scene]) -> Outcome:
    _say(f"sending {len(scenes) * ROUNDS} pictures {way}, all {len(scenes)} scenes in flight at once …")
    began = time.perf_counter()
    answers = [answer for _ in range(ROUNDS) for answer in await WAYS[way](worker, scenes)]
    return Outcome(way, answers, time.perf_counter() - began)


async def _jpeg(worker: WorkerClient, scenes: Sequence[Scene]) -> list[Answer]:
    return await asyncio.gather(*(worker.infer_jpeg(scene.jpeg) for scene in scenes))


async def _raw(worker: WorkerClient, scenes: Sequence[Scene]) -> list[Answer]:
    return await asyncio.gather(*(worker.infer_raw(scene.raw) for scene in scenes))


async def _batch(worker: WorkerClient, scenes: Sequence[Scene]) -> list[Answer]:
    half = (len(scenes) + 1) // 2
    parts = [[scene.raw for scene in part] for part in (scenes[:half], scenes[half:])]
    first, second = await asyncio.gather(*(worker.infer_batch(part) for part in parts))
    return [*first, *second]


async def _cached(worker: WorkerClient, scenes: Sequence[Scene]) -> list[Answer]:
    # Nothing waits in between: an INFER_CACHED sees every CACHE_FRAME that was sent before it.
    kept = [worker.cache_frame(index, scene.raw) for index, scene in enumerate(scenes)]
    asked = [worker.infer_cached(index) for index in range(len(scenes))]
    answers: list[Answer] = await asyncio.gather(*kept, *asked)
    return answers[len(kept) :]


WAYS: dict[str, Callable[[WorkerClient, Sequence[Scene]], Awaitable[list[Answer]]]] = {
    "as JPEG": _jpeg,
    "as raw pixels": _raw,
    "in batches": _batch,
    "from the cache": _cached,
}


def summary(outcomes: Sequence[Outcome], scenes: Sequence[Scene]) -> str:
    """Return a table with a row for each way of sending."""
    head = ("sent", "pictures", "objects", "of those there", "predict ms", "pictures/s")
    return table(head, [_row(outcome, scenes) for outcome in outcomes], width=columns())


def _row(outcome: Outcome, scenes: Sequence[Scene]) -> tuple[str, ...]:
    answers = outcome.answers[: len(scenes)]
    found = sum(len(answer["detections"]) for answer in answers)
    hits = sum(
        recall(answer["detections"], scene.truth) for answer, scene in zip(answers, scenes, strict=True)
    )
    there = sum(len(scene.truth) for scene in scenes)
    predict = sorted(answer["predictMs"] / answer["batchSize"] for answer in outcome.answers)
    return (
        outcome.way,
        str(len(outcome.answers)),
        str(found),
        f"{hits} of {there}",
        f"{predict[len(predict) // 2]:.1f}",
        f"{len(outcome.answers) / outcome.seconds:.0f}",
    )


def _write_pictures(scenes: Sequence[Scene], answers: Sequence[Answer], out: Path) -> None:
    from postprocessors.draw import annotate, save_jpeg  # noqa: PLC0415 - as above

    out.mkdir(parents=True, exist_ok=True)
    for scene, answer in zip(scenes, answers[: len(scenes)], strict=True):
        found = msgspec.convert(answer["detections"], list[Detection])
        save_jpeg(out / scene.name, annotate(scene.pixels.array, found, ChannelOrder.BGR), ChannelOrder.BGR)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
