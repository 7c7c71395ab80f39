"""The real worker, that gets a fault from outside: the first argument says which.

"signals": SIGUSR1 writes garbage to its answers, SIGUSR2 floods its stderr. "stopped": it stops before it
has begun.
"""

import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

GARBAGE = b"a library prints to descriptor 1\n"
FLOOD_LINES = 200_000


def flood() -> None:
    """Write more to stderr than any pipe holds."""
    for line in range(FLOOD_LINES):
        os.write(2, b"flood %d %s\n" % (line, b"x" * 80))


def begin_signals() -> None:
    """Have signals bring the faults."""
    answers = os.dup(1)  # before the worker moves its pipe out of reach
    signal.signal(signal.SIGUSR1, lambda *_: os.write(answers, GARBAGE))
    signal.signal(signal.SIGUSR2, lambda *_: threading.Thread(target=flood, daemon=True).start())


def stop() -> None:
    """Stop before anything is read."""
    os.kill(os.getpid(), signal.SIGSTOP)


FAULTS: dict[str, Callable[[], None]] = {"signals": begin_signals, "stopped": stop}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    sys.path.insert(0, str(Path.cwd()))
    runpy.run_module("worker", run_name="__main__")
