"""What a model adds to the process's memory, measured; and how it goes back to the system."""

import ctypes
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from model_files.base import ModelFiles
from runtimes.base import CompiledModel, Lane
from runtimes.errors import RuntimeAdapterError
from runtimes.spec import DeviceReport, ModelMetadata, TensorSpec

MEBI = 1 << 20

_PATIENCE_S = 30.0
"""How long others wait for a load that is measured alone: one that hangs must not keep them for ever."""


class ModelTooLargeError(RuntimeAdapterError):
    """A model takes more memory than it may; the text has the numbers and the next step."""


@dataclass(slots=True, eq=False)
class Measurement:
    """One load that is being measured."""

    before: int
    """Resident bytes when it began."""
    alone: bool
    """Whether no other load is measured at the same time."""
    returned: int = 0
    """Bytes that models closed meanwhile have given back."""


class MemoryMeter:
    """Measures what loads add to the resident memory of the process. Thread-safe.

    The system tells one figure for the whole process, so loads side by side count one another's
    memory too, and what is closed meanwhile makes them look smaller. A load that has a bound to keep is
    therefore measured alone: neither loads nor closings go on beside it.
    """

    def __init__(self, resident: Callable[[], int] | None = None) -> None:
        """Create a meter.

        Args:
            resident: what tells the process's resident bytes; the system, if None.
        """
        self._resident = resident or resident_bytes
        self._changed = threading.Condition(threading.Lock())
        self._open: set[Measurement] = set()
        self._closing = 0

    def begin(self, alone: bool) -> Measurement:
        """Begin to measure; waits while another is measured alone, or for all others, to be alone itself."""
        with self._changed:
            self._wait_while(self._is_in_use if alone else self._has_one_alone)
            measurement = Measurement(self._resident(), alone)
            self._open.add(measurement)
        return measurement

    def grown(self, measurement: Measurement) -> int:
        """Return by how many bytes the process has grown; 0 where the system does not tell."""
        return max(0, self._resident() - measurement.before + measurement.returned)

    def end(self, measurement: Measurement) -> None:
        """Let the loads go on that wait."""
        with self._changed:
            self._open.discard(measurement)
            self._changed.notify_all()

    def give_back(self, close: Callable[[], None]) -> None:
        """Close something and return its memory to the system; waits while a load is measured alone."""
        with self._changed:
            self._wait_while(self._has_one_alone)
            self._closing += 1
        before = self._resident()
        try:
            close()
            trim()
        finally:
            freed = max(0, before - self._resident())
            with self._changed:
                self._closing -= 1
                for measurement in self._open:
                    measurement.returned += freed
                self._changed.notify_all()

    def _wait_while(self, is_so: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_S
        while is_so() and (left := until - time.monotonic()) > 0:
            self._changed.wait(left)

    def _is_in_use(self) -> bool:
        return bool(self._open) or self._closing > 0

    def _has_one_alone(self) -> bool:
        return any(measurement.alone for measurement in self._open)


class MeteredModel:
    """A compiled model whose memory goes back to the system when it is closed, and its files to the cache."""

    def __init__(self, model: CompiledModel, files: ModelFiles, meter: MemoryMeter) -> None:
        self._model = model
        self._files = files
        self._meter = meter

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        return self._model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._model.outputs

    @property
    def metadata(self) -> ModelMetadata:
        return self._model.metadata

    @property
    def device(self) -> DeviceReport:
        return self._model.device

    @property
    def max_batch_size(self) -> int:
        return self._model.max_batch_size

    def open_lane(self) -> Lane:
        return self._model.open_lane()

    def close(self) -> None:
        """Close the model on a thread of its own: that takes milliseconds, and the loop may be asking."""
        threading.Thread(target=self._meter.give_back, args=(self._close,), name="close", daemon=True).start()

    def _close(self) -> None:
        self._model.close()
        self._files.release()


def mebibytes(count: int) -> str:
    """Return an amount of memory for a person."""
    return f"{count / MEBI:.0f} MiB" if count >= 10 * MEBI else f"{count / MEBI:.1f} MiB"


def resident_bytes() -> int:
    """Return the process's resident memory; 0 where the system does not tell cheaply."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def trim() -> None:
    """Give freed memory back to the system, where the C library keeps it (glibc); off the event loop."""
    malloc_trim = _malloc_trim()
    if malloc_trim is not None:
        malloc_trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no such handle
        return None
