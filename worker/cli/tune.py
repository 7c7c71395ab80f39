"""`python -m worker tune`: the settings with which a model of yours is quickest on this machine.

The real worker is spawned for each configuration, one at a time, and pictures go to it as a host sends
them: one in flight for latency, then as many as keep it busy for throughput. `tune_candidates` says what
is tried, `tune_choice` how the best is told from noise.
"""

import argparse
import asyncio
import json
import math
import sys
from pathlib import Path
from typing import Any

from models import DEFAULT_MODEL
from runtimes.cores import available_cores
from worker.cli.chosen_model import handshake
from worker.cli.failures import STATUS_OK, CommandFailed
from worker.cli.progress import Progress
from worker.cli.terminal import STDERR, STDOUT, Palette, note, printable, program, wrapped
from worker.cli.tune_candidates import Candidate, Space
from worker.cli.tune_choice import GOALS, Result, best
from worker.cli.tune_pictures import described, pictures
from worker.cli.tune_report import Best, as_fields, configuration, fragment, results_table, verdicts
from worker.cli.tuning import Effort, Tuner
from worker.client import Answer

_ROUNDS, _QUICK_ROUNDS = 3, 2
_MOST_IN_FLIGHT = 256
"""The worker's own limit of requests that are not yet answered."""
_MOST_SECONDS = 600.0

_EPILOG = """\
The table: pool is concurrency; native is intraThreads, auto where it is left
to the runtime, and spinning; batch is max_batch_size with batch_mode adaptive.
p50, p99 and cores are at load; alone is the median with one request in flight.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the model, what is sent to it, how long, and where the result goes."""
    model = parser.add_argument_group("the model")
    model.add_argument("--model", metavar="M", default=str(DEFAULT_MODEL), help="file (the project's own)")
    model.add_argument("--runtime", metavar="R", default="auto", help="(auto: by the kind of the file)")
    model.add_argument("--device", metavar="D", help="cpu, cuda, … (the runtime's default)")
    model.add_argument("--postprocessor", metavar="P", help="yolo (default), yolov8, …, raw")
    load = parser.add_argument_group("how it is measured")
    load.add_argument("--image", metavar="FILE", type=Path, help="send this picture (raw ones of 640x480)")
    load.add_argument(
        "--seconds",
        metavar="S",
        type=_seconds,
        default=1.0,
        help="of each measurement in each round (%(default)s)",
    )
    load.add_argument("--in-flight", metavar="K", type=_count, help="requests at load (what keeps it busy)")
    load.add_argument("--quick", action="store_true", help="fewer configurations, fewer rounds")
    output = parser.add_argument_group("where it goes")
    output.add_argument("--for", dest="goal", choices=GOALS, default="throughput", help="(%(default)s)")
    output.add_argument("--out", metavar="FILE", type=Path, help="write the configuration there (to stdout)")
    output.add_argument("--json", action="store_true", help="all results as one JSON object")
    parser.set_defaults(labels=None)  # `handshake` reads them; figures do not depend on names
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG


def run(arguments: argparse.Namespace) -> int:
    """Search, and tell; after Ctrl-C what was measured so far."""
    if arguments.out:
        _check_writable(arguments.out)
    session = _Session(arguments)
    try:
        asyncio.run(session.search())
    except KeyboardInterrupt:
        session.report_unfinished()
        raise
    session.report()
    return STATUS_OK


class _Session:
    """One run of the command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._base = handshake(arguments)
        self._cores = available_cores()
        self._slot: Answer = {}
        self._watcher = _Watcher()
        self._effort = Effort(
            _QUICK_ROUNDS if arguments.quick else _ROUNDS,
            arguments.seconds,
            arguments.in_flight,
            debug=arguments.debug,
        )
        self._tuner = Tuner(self._base, pictures(arguments.image), self._effort, self._watcher)

    async def search(self) -> None:
        """Measure everything.

        Raises:
            CommandFailed: the model cannot be loaded, or none of the configurations works.
        """
        try:
            self._watcher.status(f"loading {Path(self._arguments.model).name} …")
            self._slot = await self._tuner.probe()
            self._introduce()
            on_cpu = self._slot["device"] == "cpu"
            limit = self._slot["maxBatchSize"]
            await self._tuner.search(Space(self._cores, on_cpu, limit, self._arguments.quick))
        finally:
            self._watcher.clear()
        results = self._tuner.results.values()
        if not any(result.measured for result in results):
            then = f"{program()} detect shows whether the model answers; --debug shows the worker's log"
            raise CommandFailed("no configuration works", next(iter(results)).failure, then)

    def report(self) -> None:
        """Print what was found, and write the fragment where it is wanted."""
        results = self._tuner.results
        chosen = {goal: best(results.values(), goal, self._cores) for goal in GOALS}
        found = {goal: self._fragment(result) for goal, result in chosen.items() if result}
        wanted = json.dumps(found[self._arguments.goal], indent=2, ensure_ascii=False)
        if self._arguments.json:
            self._print_json(chosen, found)
        else:
            self._print_table(chosen)
        if self._arguments.out:
            self._arguments.out.write_text(wanted + "\n", encoding="utf-8")
            note(f"the configuration for {self._arguments.goal} is in {printable(self._arguments.out)}")
        elif not self._arguments.json:
            print(wanted)

    def report_unfinished(self) -> None:
        """Print what was measured so far; nothing is chosen from it."""
        if not any(result.measured for result in self._tuner.results.values()):
            return
        if self._arguments.json:
            self._print_json({}, {})
        else:
            self._print_table({})
            note("not finished: nothing is chosen yet")

    def _introduce(self) -> None:
        slot, name = self._slot, Path(self._arguments.model).name
        self._watcher.clear()
        if fallback := slot.get("deviceFallback"):
            note(f"{name} runs on {slot['device']}: {fallback}")
        limit = slot["maxBatchSize"]
        batches = f"batches of up to {limit}" if limit > 1 else "no batches"
        self._watcher.say(
            f"{name} is loaded: {slot['runtime']} on {slot['device']}, {batches}; cores: {self._cores};"
            f" sending {described(self._arguments.image)}"
        )

    def _fragment(self, result: Result) -> dict[str, Any]:
        return fragment(result.candidate, self._base, self._slot)

    def _print_table(self, chosen: Best) -> None:
        results = self._tuner.results
        tried = [result for result in results.values() if result.rounds or result.failure]
        # Behind a pipe is what reads the configuration.
        palette = STDOUT if STDOUT.stream.isatty() or self._arguments.out else STDERR
        print(results_table(tried, chosen), file=palette.stream)
        for line in verdicts(chosen, results[Candidate()]):
            _print_verdict(line, palette)

    def _print_json(self, chosen: Best, found: dict[str, dict[str, Any]]) -> None:
        slot, effort = self._slot, self._effort
        tried = [result for result in self._tuner.results.values() if result.rounds or result.failure]
        whole = {
            "finished": bool(chosen),
            "model": self._arguments.model,
            "runtime": slot["runtime"],
            "device": slot["device"],
            "maxBatchSize": slot["maxBatchSize"],
            "cores": self._cores,
            "picture": described(self._arguments.image),
            "seconds": effort.seconds,
            "rounds": effort.rounds,
            "results": [as_fields(result) for result in tried],
            "best": found,
        }
        print(json.dumps(whole, indent=2, ensure_ascii=False))


class _Watcher:
    """Tells on stderr how far the search is: lines, and on a terminal a bar."""

    def __init__(self) -> None:
        self._progress = Progress()

    def status(self, text: str) -> None:
        """Show what goes on."""
        self._progress.status(text)

    def clear(self) -> None:
        """Take the bar away."""
        self._progress.clear()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(wrapped(text, 0), file=sys.stderr)

    def stage(self, text: str, configurations: int, seconds: float) -> None:
        self.say(f"measuring {text}: {configurations} configurations, about {math.ceil(seconds)} s")
        self._progress = Progress()

    def measured(self, done: int, total: int, candidate: Candidate) -> None:
        self._progress.advance(done, total, configuration(candidate))

    def failed(self, result: Result) -> None:
        self.clear()
        text = f"{configuration(result.candidate)}: {result.failure}"
        print(STDERR.bad("✗") + wrapped(text, 2)[1:], file=sys.stderr)


def _print_verdict(line: str, palette: Palette) -> None:
    print(palette.good("→") + wrapped(line, 2)[1:], file=palette.stream)


def _check_writable(path: Path) -> None:
    """Fail before a minute of measuring, and not after it.

    Raises:
        OSError: the file cannot be written.
    """
    is_new = not path.exists()
    path.open("a").close()
    if is_new:
        path.unlink()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= _MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"expected seconds, up to {_MOST_SECONDS:.0f}, got {text!r}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST_IN_FLIGHT:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST_IN_FLIGHT}, got {text!r}")
    return int(text)
