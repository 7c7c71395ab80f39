"""`python -m bench.profile_worker SCENARIO`: where the worker's CPU time goes while a scenario runs."""

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from msgspec import json

from bench.profiled_worker import OUT, WRITE_S, Place
from bench.scenario import Absolute, Ratio
from bench.scenario_files import own_scenarios
from bench.side_maker import SideMaker
from bench.wire import Measurement

IDLE_SHARE = 0.005
"""Threads with less of the CPU time than this are not shown."""

PROFILED_WORKER = [sys.executable, "-m", "bench.profiled_worker"]


def main() -> int:
    """Profile one scenario and print the places of each thread."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile_worker", description=__doc__)
    parser.add_argument("scenario", help="part of a scenario's name; the first that has it")
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--places", type=int, default=12, help="lines a thread")
    arguments = parser.parse_args()
    closed = [each for each in own_scenarios() if isinstance(each, Ratio | Absolute)]
    scenario = next((each for each in closed if arguments.scenario in each.title), None)
    if scenario is None:
        print("no scenario is called so; there are:", *(each.title for each in closed), sep="\n  ")
        return 2
    measured, places = profile(scenario, arguments.seconds, arguments.concurrency)
    rate = f"{measured.rate:,.0f} requests/s under profile"
    print(f"{scenario.title}, concurrency {arguments.concurrency}: {rate}")
    _show(places, measured.count, arguments.places)
    return 0


def profile(scenario: Ratio | Absolute, seconds: float, concurrency: int) -> tuple[Measurement, list[Place]]:
    """Run a scenario for a while and return the CPU time of each place in the worker."""
    with tempfile.TemporaryDirectory(prefix="inferpipe-profile-") as folder:
        out = Path(folder) / "profile.json"
        os.environ[OUT] = str(out)
        maker = SideMaker(Path(folder), 0.0, PROFILED_WORKER)
        with maker.worker(scenario, concurrency) as side:
            count = max(8, round(side.rate(scenario.in_flight, 0.5) * seconds))
            before = _read_settled(out)
            measured = side.run(count, scenario.in_flight)
            return measured, _difference(before, _read_settled(out))


def _read_settled(path: Path) -> list[Place]:
    time.sleep(WRITE_S * 2)
    return json.decode(path.read_bytes(), type=list[Place])


def _difference(before: Sequence[Place], after: Sequence[Place]) -> list[Place]:
    earlier = {(place.thread, place.function): place for place in before}
    nothing = Place("", "", 0, 0.0)
    pairs = ((place, earlier.get((place.thread, place.function), nothing)) for place in after)
    return [
        Place(now.thread, now.function, now.calls - then.calls, now.seconds - then.seconds)
        for now, then in pairs
    ]


def _show(places: Sequence[Place], requests: int, lines: int) -> None:
    threads: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        threads[place.thread].append(place)
    whole = sum(place.seconds for place in places)
    for thread, found in sorted(threads.items()):
        total = sum(place.seconds for place in found)
        if total < whole * IDLE_SHARE:
            continue
        print(f"\n{thread}: {total / requests * 1e6:,.1f} µs of CPU a request")
        for place in sorted(found, key=lambda place: -place.seconds)[:lines]:
            each = place.seconds / requests * 1e6
            print(f"  {each:10,.2f} µs  {place.calls / requests:6.2f} calls  {place.function}")


if __name__ == "__main__":
    sys.exit(main())
