"""Logs to stderr that never block: a full stderr drops lines and counts them."""

import logging
import os
import queue
import sys
import threading
import time

_CAPACITY = 1000
"""Lines that wait for a slow stderr; more are dropped and counted."""


class StderrHandler(logging.Handler):
    """Formats on the caller's thread, writes on its own."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[bytes] = queue.Queue(_CAPACITY)
        self.dropped = 0
        """Lines that a full stderr has cost so far."""
        self._told = 0
        threading.Thread(target=self._write_all, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record).encode("utf-8", "replace") + b"\n")
        except queue.Full:
            self.dropped += 1

    def flush_within(self, seconds: float) -> None:
        """Wait until what was logged is written, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        while self._lines.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.005)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            dropped = self.dropped
            if dropped > self._told:
                line += b"worker: %d log lines dropped, stderr was full\n" % (dropped - self._told)
                self._told = dropped
            try:
                os.write(2, line)
            except OSError:
                return
            finally:
                self._lines.task_done()


def start(level: int = logging.INFO) -> None:
    """Send all logging and warnings to stderr."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught


def dropped_lines() -> int:
    """Return how many lines a full stderr has cost so far."""
    handlers = logging.getLogger().handlers
    return sum(handler.dropped for handler in handlers if isinstance(handler, StderrHandler))


def flush_within(seconds: float) -> None:
    """Wait until what was logged is written, but no longer than so many seconds."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, StderrHandler):
            handler.flush_within(seconds)


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: object) -> None:
    logging.getLogger("worker").critical("uncaught", exc_info=(kind, error, trace))  # type: ignore[arg-type]
