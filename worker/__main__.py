"""`python -m worker`: the protocol on a pipe, help on a terminal, commands for a person."""

import gc
import os
import sys
import time

STARTED = time.perf_counter()

from worker.descriptors import Descriptors, protect  # noqa: E402 - the clock runs first


def main(arguments: list[str] | None = None) -> None:
    """Run as the command line says.

    Without a command and with a pipe on stdin the process is a host's child: the pipe is moved
    to safety before anything heavy is imported, and nothing but packets goes to it.
    """
    words = sys.argv[1:] if arguments is None else arguments
    if _is_child(words):
        descriptors = _protect(*_descriptor_numbers(words))
        # numpy's BLAS would start a thread a core, 70 ms of CPU, and nothing here multiplies matrices by it.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        gc.disable()  # until the models are loaded: looking through what imports make takes 20 ms
        from worker.app import serve  # noqa: PLC0415 - after the pipe is safe

        serve(descriptors, STARTED)
    from worker.cli import run  # noqa: PLC0415 - a host's child needs none of it

    sys.exit(run(words))


def _is_child(words: list[str]) -> bool:
    if any(word.startswith("--fd-") for word in words):
        return True
    return not words and not os.isatty(0)


def _protect(fd_in: int, fd_out: int) -> Descriptors:
    try:
        return protect(fd_in, fd_out)
    except OSError as error:
        sys.exit(f"worker: descriptors {fd_in} and {fd_out} must be open: {error.strerror}")


def _descriptor_numbers(words: list[str]) -> tuple[int, int]:
    """Return the descriptors that --fd-in and --fd-out name; argparse would cost 10 ms of the start."""
    numbers = {"--fd-in": 0, "--fd-out": 1}
    pending = list(words)
    while pending:
        name, _, value = pending.pop(0).partition("=")
        value = value or (pending.pop(0) if pending else "")
        if name not in numbers or not value.isdecimal():
            sys.exit(f"worker: usage: python -m worker [--fd-in N] [--fd-out N]; got {' '.join(words)}")
        numbers[name] = int(value)
    return numbers["--fd-in"], numbers["--fd-out"]


if __name__ == "__main__":
    main()
