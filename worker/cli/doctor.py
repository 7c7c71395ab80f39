"""`python -m worker doctor`: what works on this machine, what is missing, and what to do about it."""

import argparse
import asyncio
import json
import platform
from collections.abc import Sequence

from models import DEFAULT_MODEL
from worker.cli.checks import MARKS, Check, State, absent, bad
from worker.cli.failures import STATUS_FAILED, STATUS_OK, release
from worker.cli.progress import Progress
from worker.cli.terminal import STDOUT, wrapped

_NAME_COLUMNS = 12

_PAINT = {State.GOOD: STDOUT.good, State.ABSENT: STDOUT.dim, State.BAD: STDOUT.bad}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare how it is told."""
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Look at everything; 1 where the worker could not serve at all."""
    sections = asyncio.run(_examine(debug=arguments.debug))
    serves = not any(
        check.needed and check.state is State.BAD for checks in sections.values() for check in checks
    )
    (_print_json if arguments.json else _print_text)(sections, serves)
    return STATUS_OK if serves else STATUS_FAILED


async def _examine(*, debug: bool) -> dict[str, list[Check]]:
    # They look at the libraries that help works without.
    from worker.cli.doctor_libraries import libraries, runtimes  # noqa: PLC0415
    from worker.cli.doctor_machine import machine  # noqa: PLC0415

    progress = Progress()
    try:
        progress.status("looking at the libraries …")
        sections = {"libraries": libraries(), "runtimes": runtimes(), "machine": machine()}
        # Without OpenCV nothing prepares a picture, and each device would say so.
        if _is_good(sections["libraries"], "OpenCV"):
            here = [check.name for check in sections["runtimes"] if check.state is State.GOOD]
            sections |= await _run_models(here, progress, debug=debug)
    finally:
        progress.clear()
    return sections


async def _run_models(here: Sequence[str], progress: Progress, *, debug: bool) -> dict[str, list[Check]]:
    """Return a section for the devices of each runtime that is here, and one for the default model."""
    from worker.cli.doctor_devices import DEFAULT_RUNTIMES, default_model, devices  # noqa: PLC0415 - as above
    from worker.cli.doctor_trials import TRIALS  # noqa: PLC0415

    sections = {}
    for runtime in (name for name in TRIALS if name in here):
        progress.status(f"running a tiny model on each device of {runtime} …")
        sections[f"devices of {runtime}"] = await devices(runtime, debug=debug)
    if not any(check.state is State.GOOD for checks in sections.values() for check in checks):
        none = bad("predict", "no runtime here can run a model", "pip install 'inferpipe[onnx]'", needed=True)
        sections["devices"] = [none]
    progress.status("loading the default model …")
    reader = next((name for name in DEFAULT_RUNTIMES if name in here), None)
    sections["default model"] = [
        await default_model(reader, debug=debug)
        if reader
        else absent(DEFAULT_MODEL.name, "no runtime here reads ONNX", "pip install 'inferpipe[onnx]'")
    ]
    return sections


def _is_good(checks: list[Check], name: str) -> bool:
    return any(check.name == name and check.state is State.GOOD for check in checks)


def _print_json(sections: dict[str, list[Check]], serves: bool) -> None:
    found = {name: [check.as_fields() for check in checks] for name, checks in sections.items()}
    report = {"version": release(), "python": platform.python_version(), "serves": serves, "checks": found}
    print(json.dumps(report, indent=2, ensure_ascii=False))


def _print_text(sections: dict[str, list[Check]], serves: bool) -> None:
    where = f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    print(STDOUT.bold(f"inferpipe {release()}") + f"  {where}")
    for name, checks in sections.items():
        print("\n" + STDOUT.bold(name))
        for check in checks:
            print(_line(check))
    verdict = "the worker can serve here" if serves else "the worker cannot serve here: see ✗ above"
    print("\n" + (STDOUT.good if serves else STDOUT.bad)(verdict))


def _line(check: Check) -> str:
    indent = _NAME_COLUMNS + 4
    text = wrapped(check.text, indent)[indent:]
    name = check.name.ljust(_NAME_COLUMNS)
    steps = ["\n" + wrapped("→ " + step, indent) for step in check.then.split("; ") if step]
    return f"{_PAINT[check.state](MARKS[check.state])} {name}  {text}{''.join(steps)}"
