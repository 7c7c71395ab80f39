"""The model that `detect` was asked for: its configuration, and whether it serves."""

import argparse
import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from models import DEFAULT_MODEL
from protocol.options import RequestOptions
from worker.cli.failures import STATUS_USAGE, CommandFailed
from worker.cli.terminal import STDERR, note, printable, program
from worker.client import Answer

_SHOWN_CLASSES = 12


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which model looks at pictures, and which of its objects are told."""
    model = parser.add_argument_group("the model")
    model.add_argument("--model", metavar="M", default=str(DEFAULT_MODEL), help="file (the project's own)")
    model.add_argument("--runtime", metavar="R", default="auto", help="(auto: by the kind of the file)")
    model.add_argument("--device", metavar="D", help="cpu, cuda, … (the runtime's default)")
    model.add_argument("--postprocessor", metavar="P", help="yolo (default), yolov8, …, raw")
    model.add_argument("--labels", metavar="FILE", type=Path, help="class names: one a line, or JSON")
    found = parser.add_argument_group("what is reported")
    found.add_argument(
        "--confidence", metavar="C", type=number_within(0.0, 1.0), help="lowest score, 0 to 1 (0.25)"
    )
    found.add_argument("--classes", metavar="A,B", help="these alone, by name or number")


def number_within(least: float, most: float) -> Callable[[str], float]:
    """Return what reads a number of a command line."""
    return partial(_number, least, most)


def _number(least: float, most: float, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"expected a number from {least:g} to {most:g}, got {text!r}")
    return value


def handshake(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the configuration of a worker with the one model.

    Raises:
        CommandFailed: the file of labels cannot be read.
    """
    wanted = {
        "path": arguments.model,
        "device": arguments.device,
        "postprocessor": arguments.postprocessor,
        "labels": _labels(arguments.labels) if arguments.labels else None,
    }
    model = {key: value for key, value in wanted.items() if value}
    return {"protocol": 3, "runtime": arguments.runtime, "models": [model]}


def serving_slot(model: str, ready: Answer) -> Answer:
    """Return the slot's object.

    Args:
        model: as it was asked for.
        ready: the worker's ready answer.

    Raises:
        CommandFailed: its model could not be loaded.
    """
    slot: Answer = ready["slots"][0]
    if slot["loaded"]:
        return slot
    why, _, install = str(slot["error"]).partition("; pip install ")
    then = f"pip install {install}" if install else _advice(Path(model))
    raise CommandFailed(f"the model {model} cannot be loaded", why, then)


def introduce(slot: Answer, model: str, *, draws: bool) -> None:
    """Say to a person what serves, and to everybody what is not as it was asked for."""
    name = Path(model).name
    if fallback := slot.get("deviceFallback"):
        note(f"{name} runs on {slot['device']}: {fallback}")
    if STDERR.is_terminal:
        loaded = f"{name} is loaded: {slot['runtime']} on {slot['device']}, {slot['loadMs']:.0f} ms"
        print(STDERR.dim(loaded), file=sys.stderr)
    if draws and slot["postprocessor"] == "raw":
        note("raw tensors: there is nothing to draw")


def request_options(arguments: argparse.Namespace, labels: Sequence[str]) -> RequestOptions:
    """Return what is asked for every picture.

    Args:
        arguments: of the command.
        labels: the model's; empty where it has none.

    Raises:
        CommandFailed: a class is wanted that the model does not have.
    """
    classes = _classes(arguments.classes, labels) if arguments.classes else None
    return RequestOptions(confidence=arguments.confidence, classes=classes, exif=True)


def _classes(text: str, labels: Sequence[str]) -> tuple[int | str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in labels and not name.isdecimal()]
    if unknown:
        known = ", ".join(labels[:_SHOWN_CLASSES]) + (" …" if len(labels) > _SHOWN_CLASSES else "")
        why = f"its classes are {known}" if labels else "it has no class names; give numbers, or --labels"
        then = "name classes that it has, separated by commas"
        raise CommandFailed(f"the model has no class {unknown[0]!r}", why, then, status=STATUS_USAGE)
    return tuple(name if name in labels else int(name) for name in names)


def _labels(path: Path) -> list[str] | dict[str, str]:
    """Read class names: a JSON list or object, else one name a line."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        if text.startswith(("[", "{")):
            labels: list[str] | dict[str, str] = json.loads(text)
            return labels
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        then = "give a text file with one name a line, or a JSON list"
        raise CommandFailed(f"the labels {printable(path)} cannot be read", why, then) from error
    return text.splitlines()


def _advice(model: Path) -> str:
    if not model.exists() and ":" not in str(model):
        return "check the path; without --model the project's own model is used"
    return f"{program()} doctor shows what this machine can run; --debug shows the worker's log"
