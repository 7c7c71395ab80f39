"""The commands, and the parser that is made of them."""

import argparse
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import NoReturn, Protocol, cast

from worker.cli.failures import STATUS_USAGE, release
from worker.cli.terminal import STDERR, program, wrapped

_DESCRIPTION = """\
An inference worker for a host that spawns it as a child process: requests come
in packets on stdin, answers go out on stdout (docs/protocol.md). Without a
command, and with a pipe on stdin, it speaks that protocol; --fd-in N and
--fd-out N choose other descriptors.
"""

_EPILOG = """\
a first look:    {program} demo
your pictures:   {program} detect photo.jpg --out boxes
from your host:  spawn `python -m worker`, send the configuration, then
                 pictures (README.md)
"""


class CommandModule(Protocol):
    """What a command's module has; it imports what is heavy in `run`, so that help always works."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command's own arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work; returns the exit status."""


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the table of commands."""

    module: str
    summary: str

    def load(self) -> CommandModule:
        """Return the module that does it."""
        return cast("CommandModule", import_module(self.module))


COMMANDS: dict[str, Command] = {
    "detect": Command("worker.cli.detect", "find objects in your own pictures"),
    "watch": Command("worker.cli.watch", "find objects in a video, a camera's picture or the screen"),
    "demo": Command("worker.cli.demo", "find shapes in pictures, in every way a host can send them"),
    "doctor": Command("worker.cli.doctor", "what works on this machine, what is missing, what to do"),
    "tune": Command("worker.cli.tune", "the settings with which a model is quickest on this machine"),
    "verify": Command("worker.cli.verify", "what a model is, and whether every runtime here agrees on it"),
    "models": Command("worker.cli.models", "the cache of fetched models: list, fetch, rm, verify"),
    "schema": Command("worker.cli.schema", "print the JSON Schema of the handshake's configuration"),
    "completion": Command("worker.cli.completion", "print a script that lets your shell complete commands"),
}
"""In the order in which a newcomer meets them."""


class Parser(argparse.ArgumentParser):
    """Wrong usage is told like any failure: what, and what to do, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and end with the status of wrong usage."""
        print(STDERR.bad("error") + ":" + wrapped(message, 7)[6:], file=sys.stderr)
        print(f"{STDERR.bold('next')}:  {self.prog} --help", file=sys.stderr)
        sys.exit(STATUS_USAGE)


def build_parser() -> Parser:
    """Return the parser with every command in it."""
    parser = Parser(
        prog=program(),
        description=_DESCRIPTION + "\ncommands:\n" + _listed(),
        epilog=_EPILOG.format(program=program()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"inferpipe {release()}")
    _add_debug(parser, default=False)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for name, command in COMMANDS.items():
        own = commands.add_parser(name, description=_sentence(command.summary))
        command.load().add_arguments(own)
        _add_debug(own, default=argparse.SUPPRESS)  # what was said before the command stays said
    return parser


def _listed() -> str:
    """Return the commands, one a line; argparse would break the line of a long name."""
    width = max(map(len, COMMANDS))
    return "".join(f"  {name.ljust(width)}  {command.summary}\n" for name, command in COMMANDS.items())


def _add_debug(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show tracebacks and the worker's log"
    )


def _sentence(summary: str) -> str:
    return summary[:1].upper() + summary[1:] + "."
