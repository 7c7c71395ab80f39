"""The command line for a person; results go to stdout, all else to stderr."""

import io
import sys
from collections.abc import Sequence

from worker.cli.failures import guarded
from worker.cli.parser import COMMANDS, build_parser


def run(words: Sequence[str]) -> int:
    """Run a command for a person; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without "✓" shows "?" rather than a traceback
            stream.reconfigure(errors="replace")
    return guarded(lambda: _dispatch(words), debug="--debug" in words)


def _dispatch(words: Sequence[str]) -> int:
    parser = build_parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return 0
    return COMMANDS[arguments.command].load().run(arguments)
