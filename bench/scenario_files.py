"""Reads scenarios from TOML, strictly: what is not understood is an error that names the file."""

import itertools
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.inputs import INPUTS
from bench.scenario import Driven, Scenario

FOLDER = Path(__file__).parent / "scenarios"

FILES = (
    "plumbing.toml",
    "models.toml",
    "runtimes.toml",
    "shared.toml",
    "batching.toml",
    "open_loop.toml",
    "start_and_memory.toml",
    "policies.toml",
    "hosts.toml",
    "streams.toml",
)
"""In the order in which they run."""

SPREAD = ("language", "model", "input", "link", "in_flight", "load", "clip", "container")
"""Keys that may be lists: such a table stands for a scenario of each combination."""


class ScenarioFileError(Exception):
    """A scenario file is not as it should be; the text begins with its path."""


def own_scenarios() -> tuple[Scenario, ...]:
    """Return the bench's own scenarios."""
    return read_files([FOLDER / name for name in FILES])


def read_files(paths: Iterable[Path]) -> tuple[Scenario, ...]:
    """Return the scenarios of several files, in order.

    Raises:
        ScenarioFileError: a file cannot be read, or two scenarios have one name.
    """
    found = [(path, scenario) for path in paths for scenario in read_file(path)]
    counts = Counter(scenario.title for _, scenario in found)
    for path, scenario in found:
        if counts[scenario.title] > 1:
            raise ScenarioFileError(f"{path}: there are several scenarios {scenario.title!r}: give a name")
    return tuple(scenario for _, scenario in found)


def read_file(path: Path) -> list[Scenario]:
    """Return the scenarios of one file.

    Raises:
        ScenarioFileError: it cannot be read, is no TOML, or says something unknown.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ScenarioFileError(f"{path}: {error}") from error
    tables = document.pop("scenario", None)
    if document:
        raise ScenarioFileError(f"{path}: unknown key {next(iter(document))!r}: only [[scenario]] is known")
    if not isinstance(tables, list):
        raise ScenarioFileError(f"{path}: there is no [[scenario]]")
    return [scenario for number, table in enumerate(tables) for scenario in _read(path, number, table)]


def _read(path: Path, number: int, table: dict[str, Any]) -> Iterator[Scenario]:
    for single in _spread(table):
        try:
            scenario = msgspec.convert(single, Scenario)
            _check_input(scenario)
        except (msgspec.ValidationError, ValueError) as error:
            kind = table.get("kind", "")
            raise ScenarioFileError(f"{path}: scenario {number + 1} ({kind}): {error}") from error
        yield scenario


def _spread(table: dict[str, Any]) -> Iterator[dict[str, Any]]:
    lists = {key: value for key, value in table.items() if key in SPREAD and isinstance(value, list)}
    for values in itertools.product(*lists.values()):
        yield {**table, **dict(zip(lists, values, strict=True))}


def _check_input(scenario: Scenario) -> None:
    if isinstance(scenario, Driven) and scenario.input not in INPUTS:
        raise ValueError(f"unknown input {scenario.input!r}: expected one of {', '.join(INPUTS)}")


def chosen(scenarios: Sequence[Scenario], parts: Sequence[str]) -> list[Scenario]:
    """Return those whose name contains one of the parts."""
    return [each for each in scenarios if any(part in each.title for part in parts)]
