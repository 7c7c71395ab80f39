"""`python -m bench`: every scenario against the worker and its rivals, in alternation."""

import argparse
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bench import machine
from bench.measure import run_scenario
from bench.progress import Progress
from bench.report import Report, table, tally, write
from bench.rows import Row, unmeasured
from bench.scenario import Scenario
from bench.scenario_files import ScenarioFileError, chosen, own_scenarios, read_files
from bench.settings import QUICK, Settings, estimate_s
from bench.side_maker import SideMaker
from bench.sides import SideFailedError

RESULTS = Path(__file__).parent / "results"


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; returns 1 where a scenario failed. A missed target is a result, not a failure."""
    arguments = _parser().parse_args(words)
    settings = QUICK if arguments.quick else Settings()
    settings = replace(settings, rounds=arguments.rounds or settings.rounds)
    try:
        every = read_files(arguments.scenario) if arguments.scenario else own_scenarios()
    except ScenarioFileError as error:
        print(error, file=sys.stderr)
        return 2
    scenarios = _chosen(every, arguments)
    if not scenarios:
        print("no scenario is called so; there are:", *(each.title for each in every), sep="\n  ")
        return 2
    if arguments.list:
        print(*(each.title for each in scenarios), sep="\n")
        return 0
    report = _measure(scenarios, settings, arguments.against)
    print(table(report.rows), tally(report.rows), sep="\n\n")
    out = arguments.out or _default_out(report, arguments)
    if out:
        print("\nwritten to", *write(report, out))
    return int(any(row.note.startswith("failed") for row in report.rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="three short rounds; of the bench's own scenarios those with targets alone",
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="scenarios whose name contains one of these"
    )
    parser.add_argument(
        "--scenario", nargs="+", type=Path, metavar="FILE.toml", help="your own scenarios, not the bench's"
    )
    parser.add_argument(
        "--against",
        type=shlex.split,
        default=[],
        metavar="CMD",
        help="another worker command, which takes every rival's place",
    )
    parser.add_argument("--rounds", type=_rounds, metavar="N", help="pairs of runs (10; quick: 3)")
    parser.add_argument("--list", action="store_true", help="print the names, run nothing")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json", help="bench/results/DATE-HOST.json for a full run"
    )
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _chosen(scenarios: Sequence[Scenario], arguments: argparse.Namespace) -> list[Scenario]:
    if arguments.only:
        return chosen(scenarios, arguments.only)
    return [each for each in scenarios if each.targets or arguments.scenario or not arguments.quick]


def _default_out(report: Report, arguments: argparse.Namespace) -> Path | None:
    """Return where a full run goes; anything else is written only where `--out` says so."""
    if arguments.quick or arguments.only or arguments.scenario or arguments.against:
        return None
    host = re.sub(r"[^A-Za-z0-9.-]", "-", report.machine.host)
    return RESULTS / f"{report.date}-{host}.json"


def _measure(scenarios: Sequence[Scenario], settings: Settings, against: Sequence[str]) -> Report:
    began, here, rows = time.perf_counter(), machine.this_machine(), list[Row]()
    progress = Progress([estimate_s(each, settings) for each in scenarios])
    with tempfile.TemporaryDirectory(prefix="inferpipe-bench-") as folder:
        maker = SideMaker(Path(folder), settings.calibrate_s, against=against)
        for number, scenario in enumerate(scenarios):
            progress.begin(number, scenario.title)
            try:
                rows.append(run_scenario(scenario, settings, maker, progress.step))
            except (SideFailedError, OSError) as error:
                rows.append(unmeasured(scenario, f"failed: {error}"))
    progress.clear()
    seconds = round(time.perf_counter() - began, 1)
    return Report(machine.today(), here, machine.versions(), settings, seconds, rows, shlex.join(against))


if __name__ == "__main__":
    sys.exit(main())
