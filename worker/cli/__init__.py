"""The command line for a person; results go to stdout, all else to stderr."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker.client import HandshakeRefused, WorkerError, WorkerGone

_DESCRIPTION = """\
An inference worker for a host that spawns it as a child process: requests come in packets on
stdin, answers go out on stdout (docs/protocol.md). Without a command, and with a pipe on stdin,
it speaks that protocol; --fd-in N and --fd-out N choose other descriptors.
"""

_EPILOG = """\
a first look:      python -m worker demo
from your host:    spawn `python -m worker`, send the configuration, then pictures (README.md)
"""


def run(words: Sequence[str]) -> int:
    """Run a command for a person; returns the exit status."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        return 0
    try:
        from worker.cli.demo import run_demo  # noqa: PLC0415 - help and --version work without OpenCV
    except ImportError as error:
        print(f"worker: the demo needs OpenCV: {error}", file=sys.stderr)
        print("next: pip install 'inferpipe[onnx,opencv]'", file=sys.stderr)
        return 1
    try:
        return asyncio.run(run_demo(arguments.out))
    except (HandshakeRefused, WorkerGone, WorkerError) as error:
        print(f"worker: the demo failed: {error}", file=sys.stderr)
        print("next: look at the log above, and run `make setup` to install what is missing", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m worker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"inferpipe {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    demo = commands.add_parser("demo", help="find shapes in pictures, in every way a host can send them")
    demo.add_argument(
        "--out",
        type=Path,
        default=Path("demo-output"),
        help="folder for annotated pictures (%(default)s)",
    )
    return parser


def _version() -> str:
    try:
        return version("inferpipe")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"
