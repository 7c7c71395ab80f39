"""What goes wrong for a person at a terminal: what happened, why, and what to do next."""

import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from worker.cli.terminal import STDERR, program, wrapped
from worker.client import WorkerError, WorkerGone

STATUS_OK, STATUS_FAILED, STATUS_USAGE = 0, 1, 2
STATUS_INTERRUPTED, STATUS_BROKEN_PIPE = 130, 141
"""As a shell reports a program that SIGINT, or SIGPIPE, has ended."""


class CommandFailed(Exception):  # noqa: N818 - the name says what has happened, and to what
    """A command cannot go on."""

    def __init__(self, what: str, why: str, then: str, *, status: int = STATUS_FAILED, log: str = "") -> None:
        """Describe the failure.

        Args:
            what: happened, one line.
            why: one line.
            then: what to do about it.
            status: the exit status.
            log: the end of the worker's log, where it says more.
        """
        super().__init__(what)
        self.what, self.why, self.then = what, why, then
        self.status = status
        self.log = log


def guarded(command: Callable[[], int], *, debug: bool) -> int:
    """Run a command; whatever it raises becomes lines on stderr and an exit status."""
    try:
        status = command()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return STATUS_INTERRUPTED
    except BrokenPipeError:  # whoever read our answers has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return STATUS_BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the boundary to the person
        if debug:
            traceback.print_exception(error)
        failure = _explained(error)
        report(failure)
        return failure.status
    return status


def report(failure: CommandFailed) -> None:
    """Print a failure: the worker's log where there is one, then what, why, and what to do."""
    if failure.log:
        print(STDERR.dim("the worker's log ends with:"), failure.log, sep="\n", file=sys.stderr)
    lines = {"error": failure.what, "why": failure.why, "next": failure.then}
    for name, text in lines.items():
        head = STDERR.bad(name) if name == "error" else STDERR.bold(name)
        print(head + ":" + wrapped(text, 7)[len(name) + 1 :], file=sys.stderr)


def release() -> str:
    """Return this distribution's version."""
    try:
        return version("inferpipe")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "(not installed)"


def _explained(error: Exception) -> CommandFailed:
    if isinstance(error, CommandFailed):
        return error
    explain = next(explain for kind, explain in _EXPLANATIONS if isinstance(error, kind))
    return explain(error)


def _missing_library(error: Exception) -> CommandFailed:
    library = getattr(error, "name", None) or "a library"  # nameless: one of the system's, below it
    known = f"pip install 'inferpipe[{_EXTRAS[library]}]'" if library in _EXTRAS else ""
    then = known or f"{program()} doctor shows what is missing"
    return CommandFailed(f"{library} cannot be imported", str(error), then)


def _worker_failed(error: Exception) -> CommandFailed:
    return CommandFailed("the worker failed", str(error), "run it again with --debug to see its log")


def _system_failed(error: Exception) -> CommandFailed:
    assert isinstance(error, OSError)
    name = Path(os.fsdecode(error.filename)).name if isinstance(error.filename, str | bytes) else ""
    what = f"{error.filename} cannot be used" if name else "the system refused something"
    return CommandFailed(what, error.strerror or str(error), "check the path and its permissions")


def _unforeseen(error: Exception) -> CommandFailed:
    why = f"{type(error).__name__}: {error}"
    return CommandFailed("a fault of inferpipe itself", why, "run it again with --debug, and report that")


_EXTRAS = {"av": "stream", "cv2": "opencv", "mss": "screen", "onnxruntime": "onnx"}
"""Module → the extra of this distribution that brings it."""

_EXPLANATIONS: tuple[tuple[type[Exception], Callable[[Exception], CommandFailed]], ...] = (
    (ImportError, _missing_library),
    (WorkerGone, _worker_failed),
    (WorkerError, _worker_failed),
    (OSError, _system_failed),
    (Exception, _unforeseen),
)
"""First match wins."""
