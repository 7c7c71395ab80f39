"""`python -m worker models`: what has been fetched, fetching it beforehand, and clearing it away."""

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from worker.cli.parser import CommandModule
from worker.cli.terminal import note


@dataclass(frozen=True, slots=True)
class _Action:
    module: str
    summary: str

    def load(self) -> CommandModule:
        return cast("CommandModule", import_module(self.module))


ACTIONS: dict[str, _Action] = {
    "list": _Action("worker.cli.models_list", "what is in the cache"),
    "fetch": _Action("worker.cli.models_fetch", "bring models into the cache, with their companions"),
    "rm": _Action("worker.cli.models_rm", "remove what nobody uses"),
    "verify": _Action("worker.cli.models_verify", "read everything again and throw away what is corrupt"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the actions, each with its own words."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, action in ACTIONS.items():
        own = actions.add_parser(name, help=action.summary, description=action.summary.capitalize() + ".")
        action.load().add_arguments(own)
        own.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks, and the log"
        )
        own.add_argument("--cache-dir", metavar="DIR", help="the cache (INFERPIPE_CACHE, or the system's)")
        own.add_argument("--provider", metavar="JSON", help="the object `provider` of a configuration")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    log = logging.getLogger("model_files")
    log.propagate = False
    log.handlers = [_Notes()]
    log.setLevel(logging.DEBUG if arguments.debug else logging.WARNING)
    return ACTIONS[arguments.action].load().run(arguments)


class _Notes(logging.Handler):
    """Shows what the log says as notes to the person."""

    tell: Callable[[str], None] = staticmethod(note)

    def emit(self, record: logging.LogRecord) -> None:
        self.tell(record.getMessage())
