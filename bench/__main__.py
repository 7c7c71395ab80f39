"""`python -m bench`: every scenario against the worker and its rivals, in alternation."""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench import machine
from bench.inputs import PayloadFolder
from bench.measure import Row, Settings, run_scenario
from bench.report import Report, table, tally, write
from bench.scenarios import SCENARIOS, Scenario
from bench.sides import SideFailedError, SideMaker

RESULTS = Path(__file__).parent / "results"

QUICK = Settings(rounds=3, round_s=0.3, calibrate_s=0.0)
"""A look, not a verdict: three rounds give a median an interval of 75 %, and nothing is calibrated."""


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; returns 1 where a scenario failed. A missed target is a result, not a failure."""
    arguments = _parser().parse_args(words)
    settings = QUICK if arguments.quick else Settings(rounds=arguments.rounds)
    scenarios = _chosen(arguments)
    if not scenarios:
        print("no scenario is called so; there are:", *(each.name for each in SCENARIOS), sep="\n  ")
        return 2
    began, here = time.perf_counter(), machine.this_machine()
    with tempfile.TemporaryDirectory(prefix="inferpipe-bench-") as folder:
        maker = SideMaker(PayloadFolder(Path(folder)), settings.calibrate_s)
        rows = [_run(number, scenarios, settings, maker) for number in range(len(scenarios))]
    _clear_line()
    print(table(rows), tally(rows), sep="\n\n")
    report = Report(
        machine.today(), here, machine.versions(), settings, round(time.perf_counter() - began, 1), rows
    )
    out = arguments.out or _default_out(report, arguments)
    if out:
        print(f"\nwritten to {out} and {write(report, out)}")
    return int(any(row.note.startswith("failed") for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the scenarios with targets alone, three short rounds"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="scenarios whose name contains one of these"
    )
    parser.add_argument("--rounds", type=_rounds, default=10, metavar="N", help="pairs of runs (10)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE.json", help="bench/results/DATE-HOST.json for a full run"
    )
    return parser


def _rounds(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _chosen(arguments: argparse.Namespace) -> list[Scenario]:
    if arguments.only:
        return [each for each in SCENARIOS if any(part in each.name for part in arguments.only)]
    return [each for each in SCENARIOS if each.targets or not arguments.quick]


def _default_out(report: Report, arguments: argparse.Namespace) -> Path | None:
    """Return where a full run goes; a part of it is written only where `--out` says so."""
    if arguments.quick or arguments.only:
        return None
    host = re.sub(r"[^A-Za-z0-9.-]", "-", report.machine.host)
    return RESULTS / f"{report.date}-{host}.json"


def _run(number: int, scenarios: Sequence[Scenario], settings: Settings, maker: SideMaker) -> Row:
    scenario = scenarios[number]
    place = f"[{number + 1}/{len(scenarios)}] {scenario.name}"
    if not sys.stderr.isatty():
        print(place, file=sys.stderr, flush=True)
    try:
        return run_scenario(scenario, settings, maker, lambda text: _show(f"{place}: {text}"))
    except (SideFailedError, OSError) as error:
        return Row(scenario.name, scenario.kind, scenario.rival, f"failed: {error}")


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _clear_line() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
