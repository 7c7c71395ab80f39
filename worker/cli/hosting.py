"""Spawns a worker for a command; its log is kept back, and shown where the worker fails."""

import contextlib
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from typing import IO, Any

from worker.cli.failures import CommandFailed
from worker.cli.terminal import program
from worker.client import HandshakeRefused, WorkerClient, WorkerGone

_LOG_LINES = 12
"""Of the log's end, shown where the worker fails."""
_LOG_BYTES = 16_384


@contextlib.asynccontextmanager
async def hosted(config: Mapping[str, Any], *, debug: bool) -> AsyncIterator[WorkerClient]:
    """Give a worker that has taken this configuration, and end it afterwards.

    Args:
        config: the handshake's.
        debug: the log goes to our stderr as it comes.

    Raises:
        CommandFailed: it did not take the configuration, or ended before its time.
    """
    with tempfile.TemporaryFile() as log:
        try:
            worker = await WorkerClient.spawn(config, stderr=None if debug else log.fileno())
        except HandshakeRefused as error:
            raise _refused(error, log) from error
        try:
            async with _killed_on_failure(worker):
                yield worker
        except WorkerGone as error:
            why = f"{error}{_manner(worker.process.returncode)}"
            then = f"run it again with --debug; {program()} doctor shows what works here"
            raise CommandFailed("the worker ended in the middle", why, then, log=_tail(log)) from error


@contextlib.asynccontextmanager
async def _killed_on_failure(worker: WorkerClient) -> AsyncIterator[None]:
    """Close a worker; where its user gives up, do not wait for what is in flight."""
    try:
        yield
    except WorkerGone:  # by itself: how, its exit status tells
        raise
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()
        raise
    finally:
        await worker.close()


def _refused(error: HandshakeRefused, log: IO[bytes]) -> CommandFailed:
    why = str(error).removeprefix("bad_request: ")
    then = f"{program()} doctor shows what works here; --debug shows the worker's log"
    told = error.__cause__ is not None and not isinstance(error.__cause__, WorkerGone)
    return CommandFailed("the worker did not start", why, then, log="" if told else _tail(log))


def _manner(status: int | None) -> str:
    """Return how a process ended."""
    if status is None or status >= 0:
        return f", exit status {status}"
    name = signal.Signals(-status).name
    hint = "; the system may have run out of memory" if name == "SIGKILL" else ""
    return f", ended by {name}{hint}"


def _tail(log: IO[bytes]) -> str:
    """Return the end of the log; "" where there is none, as with --debug."""
    size = log.seek(0, 2)
    log.seek(max(0, size - _LOG_BYTES))
    lines = log.read().decode("utf-8", "replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-_LOG_LINES:])
