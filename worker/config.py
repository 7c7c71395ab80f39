"""The handshake's configuration, parsed once at the border into frozen structs.

Each field carries its key on the wire, its reader and its description: one table that
parsing, the warnings about unknown keys and the reference documentation are made from.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from model_files.base import ModelRef
from preprocess.options import ResizeMode
from worker import config_readers as read
from worker.config_readers import ConfigError

MEBI = 1 << 20

_MEMORY_UNKNOWN = 4096 * MEBI
"""What is taken to be there where the system does not tell."""


class BatchMode(StrEnum):
    """How requests for one model are put together; see docs/protocol.md."""

    NONE = "none"
    LIST = "list"
    WINDOW = "window"
    ADAPTIVE = "adaptive"


class Overload(StrEnum):
    """What happens to a request over a limit."""

    WAIT = "wait"
    REJECT = "reject"


def _key(name: str, default: Any, reader: Callable[[Any], Any], text: str) -> Any:
    """Declare a configuration key: its name on the wire, default, reader and description."""
    return field(default=default, metadata={"key": name, "read": reader, "doc": text})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the worker takes on at once; echoed in the ready answer."""

    max_packet_bytes: int = _key("maxPacketBytes", 256 * MEBI, read.integer(64), "longest packet")
    max_in_flight: int = _key("maxInFlight", 256, read.integer(1), "data requests not yet answered")
    max_in_flight_bytes: int = _key(
        "maxInFlightBytes", 1024 * MEBI, read.integer(1), "payload bytes of requests not yet answered"
    )
    max_pixels: int = _key("maxPixels", 64 * MEBI, read.integer(1), "largest picture")
    frame_cache_bytes: int = _key(
        "frameCacheBytes", 0, read.integer(1), "budget of the frame cache; a quarter of the memory by default"
    )
    overload: Overload = _key(
        "overload", Overload.WAIT, read.choice(Overload), "over a limit: wait or reject"
    )
    drain_timeout_ms: int = _key(
        "drainTimeoutMs", 10_000, read.integer(1), "how long the end waits for what is in flight"
    )

    def as_wire(self) -> dict[str, Any]:
        """Return the limits by their keys on the wire."""
        return {entry.metadata["key"]: getattr(self, entry.name) for entry in dataclasses.fields(self)}


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One slot's model."""

    path: str = _key("path", "", read.text, "file, folder or URI of the model")
    sha256: str | None = _key("sha256", None, read.text, "expected digest of the file, hex")
    runtime: str | None = _key("runtime", None, read.text, "runtime of this slot; the worker's by default")
    device: str = _key("device", "", read.text, "device, in the runtime's words")
    input_size: tuple[int, int] | None = _key(
        "inputSize",
        None,
        read.size,
        "side in pixels, or [width, height], where the model leaves it open; 640",
    )
    preprocess_mode: ResizeMode = _key(
        "preprocessMode", ResizeMode.LETTERBOX, read.choice(ResizeMode), "letterbox or resize"
    )
    postprocessor: str = _key("postprocessor", "yolo", read.text, "how outputs become results")
    confidence: float = _key("confidence", 0.25, read.number(0.0, 1.0), "lowest score that is reported")
    labels: tuple[str, ...] = _key("labels", (), read.labels, "class names by class id")
    intra_threads: int | None = _key("intraThreads", None, read.integer(1), "native threads of one predict")
    inter_threads: int | None = _key("interThreads", None, read.integer(1), "native threads across branches")
    spinning: bool | None = _key("spinning", None, read.flag, "whether idle native threads spin")
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Keys that none of the above reads; a postprocessor may."""

    @property
    def ref(self) -> ModelRef:
        return ModelRef(self.path, self.sha256)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """The whole handshake but its models, which are read one by one."""

    protocol: int = _key("protocol", 2, read.anything, "3: the host knows part B of the protocol")
    runtime: str = _key("runtime", "coreml", read.text, "runtime of every slot that names none")
    concurrency: int | None = _key(
        "concurrency", 1, read.integer_or_auto, 'predict threads of each slot and of the process, or "auto"'
    )
    batch_mode: BatchMode = _key(
        "batch_mode", BatchMode.NONE, read.choice_or(BatchMode.NONE), "none, list, window or adaptive"
    )
    window_ms: float = _key("window_ms", 0.0, read.number(0.0, 60_000.0), "how long a window collects, ms")
    max_batch_size: int | None = _key("max_batch_size", None, read.integer(1), "most items of a batch")
    models: tuple[Any, ...] = _key("models", (), read.array, "the slots, one object each")
    limits: Limits = _key("limits", Limits(), read.mapping, "what the worker takes on at once")
    parent_pid: int | None = _key("parentPid", None, read.integer(1), "end when this process is gone")


def parse_worker(raw: Mapping[str, Any], protocol: int) -> tuple[WorkerConfig, list[str]]:
    """Read the handshake; returns it and a warning for each key that nobody reads.

    Args:
        raw: as it came.
        protocol: the version in effect, which `protocol.session` has read.

    Raises:
        ConfigError: a value cannot be read as its type.
    """
    values, unknown = _read_fields(WorkerConfig, raw, "")
    limits, unknown_limits = _read_fields(Limits, values.get("limits", {}), "limits.")
    limits.setdefault("frame_cache_bytes", _memory_allowed() // 4)
    config = WorkerConfig(**{**values, "limits": Limits(**limits), "protocol": protocol})
    return config, [*unknown.values(), *unknown_limits.values()]


def parse_model(raw: Any, path: str) -> tuple[ModelConfig, dict[str, str]]:
    """Read one model's configuration; returns it, and a warning by key for what a postprocessor may read.

    Args:
        raw: as it came.
        path: how messages name it: "models[0]", "config".

    Raises:
        ConfigError: it is no object, has no path, or a value cannot be read.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected an object, got {_shown(raw)}")
    values, unknown = _read_fields(ModelConfig, raw, f"{path}.")
    if not values.get("path"):
        raise ConfigError(f"{path}.path: expected the path of a model, got nothing")
    return ModelConfig(**values, extra={key: raw[key] for key in unknown}), unknown


def _read_fields(kind: type[Any], raw: Mapping[str, Any], path: str) -> tuple[dict[str, Any], dict[str, str]]:
    entries = {entry.metadata["key"]: entry for entry in dataclasses.fields(kind) if entry.metadata}
    values = {}
    for key, value in raw.items():
        if key in entries and not _means_default(value):
            values[entries[key].name] = _read_value(entries[key].metadata["read"], value, path + key)
    return values, {key: _unknown(path + key, key, entries) for key in raw if key not in entries}


def _read_value(reader: Callable[[Any], Any], value: Any, path: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        raise ConfigError(f"{path}: expected {error}, got {_shown(value)}") from None


def _means_default(value: Any) -> bool:
    return value is None or (value is not False and value in (0, "", "0"))


def _unknown(path: str, key: str, known: Mapping[str, Any]) -> str:
    nearest = get_close_matches(key, known, n=1)
    return f"{path} is unknown and ignored" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _memory_allowed() -> int:
    """Return the bytes of memory that this process may use: the cgroup's limit, else what is installed."""
    if not hasattr(os, "sysconf"):  # Windows, untested
        return _MEMORY_UNKNOWN
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            return min(installed, int(Path(limit).read_text()))
        except (OSError, ValueError):  # no such cgroup, or "max"
            continue
    return installed
