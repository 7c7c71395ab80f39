"""`python -m worker verify`: what a model is, and whether every runtime and device here agrees on a picture.

Each way to run the model gets a worker of its own, as a host has it. The first way is what the others are
measured by; with `--against` the runs of another file are measured by it too, more loosely.
"""

import argparse
import asyncio
import json
import re
from pathlib import Path
from typing import Any

from models import SCENES
from worker.cli.failures import STATUS_FAILED, STATUS_OK, CommandFailed
from worker.cli.pictures import PictureFile, Unusable, read
from worker.cli.progress import Progress
from worker.cli.terminal import STDOUT, note, printable, program
from worker.cli.verify_compare import EDGE, Limits, compare, found
from worker.cli.verify_kinds import WayFinder, kind_of
from worker.cli.verify_report import (
    Comparison,
    as_fields,
    comparison_fields,
    comparisons_table,
    description_text,
    run_name,
    runs_table,
    short_names,
    verdict_lines,
)
from worker.cli.verify_runs import Examined, Examiner, Question, Run

_MOST_SECONDS = 600.0
_OWN_LIMITS = {"iou": 0.9, "score": 0.05, "difference": 0.01}
"""Between runtimes of one file: they compute the same in another order."""
_OTHER_LIMITS = {"iou": 0.5, "score": None, "difference": 0.1}
"""To another file: the same objects, whatever rounding or training did to their scores."""

_EPILOG = f"""\
Objects with a score from --confidence on must be found in both runs; the
weaker one may have up to {EDGE} less there. Exit status 0: all agree; 1: they
do not, or something does not run; 2: the words of the command are off.
"""
"""How agreement is told, below the options."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, the ways to run it, what counts as agreement, and where the result goes."""
    parser.add_argument("model", metavar="MODEL", help="the model's file")
    runs = parser.add_argument_group("what is run")
    runs.add_argument("--image", metavar="FILE", type=Path, help="the picture (a scene of the project's own)")
    runs.add_argument("--against", metavar="OTHER", help="compare with this model too, as one of int8")
    runs.add_argument("--runtime", metavar="R", nargs="+", default=[], help="(all that read the file)")
    runs.add_argument("--device", metavar="D", help="cpu, cuda, … (all that work here)")
    runs.add_argument("--postprocessor", metavar="P", help="yolo, ssd, raw, … (the first that fits)")
    runs.add_argument(
        "--seconds", metavar="S", type=_seconds, default=1.0, help="of measuring each run (%(default)s)"
    )
    limits = parser.add_argument_group("what counts as agreement")
    limits.add_argument(
        "--confidence", metavar="C", type=_fraction, default=0.25, help="of objects (%(default)s)"
    )
    limits.add_argument("--iou", metavar="T", type=_fraction, help="least overlap (0.9; 0.5 to OTHER)")
    limits.add_argument(
        "--score", metavar="T", type=_fraction, help="largest difference of scores (0.05; any to OTHER)"
    )
    limits.add_argument(
        "--difference",
        metavar="T",
        type=_fraction,
        help="of raw tensors, as a share of the largest element (0.01; 0.1 to OTHER)",
    )
    output = parser.add_argument_group("where it goes")
    output.add_argument(
        "--out", metavar="DIR", type=Path, help="write the report, and the picture with boxes"
    )
    output.add_argument("--json", action="store_true", help="one JSON object")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Verify, and tell; 0 where all that ran agrees."""
    return asyncio.run(_Session(arguments).verify())


class _Session:
    """One run of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._own = _limits(arguments, _OWN_LIMITS)
        self._other = _limits(arguments, _OTHER_LIMITS)
        self._image = arguments.image or min(SCENES.glob("*.jpg"))
        self._finder = WayFinder(arguments.device, debug=arguments.debug)
        self._models: list[Examined] = []
        self._comparisons: list[tuple[Comparison, Limits]] = []

    async def verify(self) -> int:
        """Examine the model and the other one, compare, report; returns the exit status."""
        arguments = self._arguments
        question = Question(
            _picture(self._image),
            self._own.floor,
            arguments.seconds,
            tuple(arguments.runtime),
            arguments.postprocessor,
            arguments.debug,
        )
        if arguments.out:
            arguments.out.mkdir(parents=True, exist_ok=True)
        await self._examine(arguments.model, question, strict=True)
        if arguments.against:
            await self._examine(arguments.against, question, strict=False)
        self._compare()
        self._report()
        disagree = any(not one.agreement.agrees for one, _ in self._comparisons)
        failed = any(refusal.wanted for model in self._models for refusal in model.refusals)
        return STATUS_FAILED if disagree or failed else STATUS_OK

    async def _examine(self, model: str, question: Question, *, strict: bool) -> None:
        kind = kind_of(model, question.runtimes, strict=strict)
        strangers = [name for name in question.runtimes if name not in kind.runtimes]
        if strangers and not self._arguments.against:
            note(f"{' and '.join(strangers)}: does not read this kind of file, and is left out")
        progress = Progress()
        try:
            examined = await Examiner(model, kind, question, self._finder, progress).examine()
        finally:
            progress.clear()
        self._models.append(examined)
        if not self._arguments.json:
            print(description_text(examined, STDOUT) + "\n")
        if not examined.runs:
            if self._arguments.json:
                print(json.dumps(self._fields(), indent=2, ensure_ascii=False))
            first = examined.refusals[0]
            then = first.then or f"{program()} doctor shows what this machine can run"
            raise CommandFailed(f"no runtime here runs {examined.name}", first.why, then)

    def _compare(self) -> None:
        """Compare all runs with the first one of the first model."""
        names = short_names(self._models) if len(self._models) > 1 else [""]
        reference = self._models[0].runs[0]
        for name, model in zip(names, self._models, strict=True):
            limits = self._own if model is self._models[0] else self._other
            for run in model.runs:
                if run is not reference:
                    agreement = compare(reference.answer, run.answer, limits)
                    one = Comparison(run_name(names[0], reference), run_name(name, run), agreement)
                    self._comparisons.append((one, limits))

    def _report(self) -> None:
        arguments = self._arguments
        for model in self._models:
            for run in model.runs:
                if run.fallback:
                    note(f"{model.name} runs on {run.way.device}: {run.fallback}")
        if arguments.json:
            print(json.dumps(self._fields(), indent=2, ensure_ascii=False))
        else:
            print(self._tables())
        self._note_what_proves_little()
        if arguments.out:
            self._write(arguments.out)

    def _tables(self) -> str:
        comparisons = [one for one, _ in self._comparisons]
        parts = [runs_table(self._models, self._own.confidence)]
        if comparisons:
            parts.append("\n" + comparisons_table(comparisons))
        return "\n".join([*parts, *verdict_lines(comparisons, STDOUT)])

    def _fields(self) -> dict[str, Any]:
        confidence = self._own.confidence
        models = [as_fields(model, confidence) for model in self._models]
        return {
            "agrees": all(model.runs for model in self._models)
            and all(one.agreement.agrees for one, _ in self._comparisons),
            "picture": printable(self._image),
            "confidence": confidence,
            "model": models[0],
            "against": models[1] if len(models) > 1 else None,
            "comparisons": [comparison_fields(one, limits) for one, limits in self._comparisons],
        }

    def _note_what_proves_little(self) -> None:
        runs = [run for model in self._models for run in model.runs]
        labels = {label for run in runs for label in run.slot["labels"]}
        if labels and self._arguments.image is None and labels.isdisjoint(_in_scenes()):
            note("the scene that was sent has nothing that this model knows: give a picture with --image")
        if not self._comparisons:
            note("one runtime on one device runs this model here: there is nothing to compare")
        elif not any("tensors" in run.answer or found(run.answer, self._own.confidence) for run in runs):
            note("nothing is found on this picture, so agreement proves little: give one with --image")

    def _write(self, folder: Path) -> None:
        """Write the report as text and, where there are boxes, the picture with those of each run."""
        from worker.cli.annotations import AnnotatedCopies, write_copy  # noqa: PLC0415 - needs OpenCV; help does not

        texts = [description_text(model, STDOUT) for model in self._models]
        report = "\n\n".join([*texts, self._tables()]) + "\n"
        (folder / "report.txt").write_text(_COLOUR.sub("", report), encoding="utf-8")
        copies = AnnotatedCopies(folder, [self._image])
        data = _picture(self._image)
        for model in self._models:
            for run in model.runs:
                if "detections" in run.answer:
                    copy = copies.name_for(Path(f"{_stem(model, run)}.jpg"))
                    write_copy(copy, data, list(map(dict, found(run.answer, self._own.confidence))))
        note(f"the report and the picture with boxes are in {printable(folder)}/")


def _in_scenes() -> set[str]:
    """Return the classes of the objects in the project's own scenes."""
    truth = json.loads((SCENES / "truth.json").read_text(encoding="utf-8"))
    return {thing["className"] for objects in truth.values() for thing in objects}


_COLOUR = re.compile(r"\x1b\[\d*m")


def _stem(model: Examined, run: Run) -> str:
    """Return a file name without its suffix."""
    return re.sub(r"[^\w-]+", "-", f"{Path(model.name).stem}-{run.way.runtime}-{run.way.device}")


def _limits(arguments: argparse.Namespace, defaults: dict[str, Any]) -> Limits:
    given = {key: getattr(arguments, key) for key in defaults if getattr(arguments, key) is not None}
    return Limits(arguments.confidence, **{**defaults, **given})


def _picture(file: Path) -> bytes:
    data = read(PictureFile(file))
    if isinstance(data, Unusable):
        then = "give a JPEG, PNG or WebP file; without --image a scene of the project's own is sent"
        raise CommandFailed(f"the picture {printable(file)} cannot be sent", data.why, then)
    return data


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"expected seconds, up to {_MOST_SECONDS:.0f}, got {text!r}")
    return value
