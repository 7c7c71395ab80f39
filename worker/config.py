"""The handshake's configuration, parsed once at the border into frozen structs."""

import dataclasses
import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from worker.config_keys import key_info
from worker.config_model import ModelConfig
from worker.config_provider import SECTIONS, ProviderConfig
from worker.config_readers import ConfigError, ObjectOf, Reader
from worker.config_structs import MEBI, BatchMode, Limits, MetricsConfig, Overload, WorkerConfig
from worker.config_verify import VerifyConfig

__all__ = [
    "BatchMode",
    "Limits",
    "MetricsConfig",
    "ModelConfig",
    "Overload",
    "ProviderConfig",
    "VerifyConfig",
    "WorkerConfig",
    "parse_model",
    "parse_provider",
    "parse_worker",
]

_MEMORY_UNKNOWN = 4096 * MEBI
"""What is taken to be there where the system does not tell."""


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
    metrics, unknown_metrics = _read_fields(MetricsConfig, values.get("metrics", {}), "metrics.")
    provider, unknown_provider = parse_provider(values.get("provider", {}), "provider")
    parts = {"limits": Limits(**limits), "metrics": MetricsConfig(**metrics), "provider": provider}
    return WorkerConfig(**{**values, **parts, "protocol": protocol}), [
        *unknown.values(),
        *unknown_limits.values(),
        *unknown_metrics.values(),
        *unknown_provider,
    ]


def parse_provider(raw: Any, path: str) -> tuple[ProviderConfig, list[str]]:
    """Read where models come from; returns it and a warning for each key that nobody reads.

    Args:
        raw: as it came.
        path: how messages name it: "provider".

    Raises:
        ConfigError: it is no object, or a value cannot be read.
    """
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: expected an object, got {_shown(raw)}")
    provider, unknown = _read_section(ProviderConfig, raw, path)
    return provider, unknown


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
    extra = {key: raw[key] for key in unknown}
    if "verify" in values:
        values["verify"], unread = _read_verify(values["verify"], f"{path}.verify.")
        unknown |= {f"verify.{key}": text for key, text in unread.items()}
    return ModelConfig(**values, extra=extra), unknown


def _read_verify(raw: Mapping[str, Any], path: str) -> tuple[VerifyConfig, dict[str, str]]:
    values, unknown = _read_fields(VerifyConfig, raw, path)
    if not values.get("image"):
        raise ConfigError(f"{path}image: expected the path of a picture, got nothing")
    return VerifyConfig(**values), unknown


def _read_fields(kind: type[Any], raw: Mapping[str, Any], path: str) -> tuple[dict[str, Any], dict[str, str]]:
    entries = {entry.metadata["key"]: entry for entry in dataclasses.fields(kind) if entry.metadata}
    values = {}
    for key, value in raw.items():
        if key in entries and not _means_default(value):
            values[entries[key].name] = _read_value(key_info(entries[key]).reader, value, path + key)
    return values, {key: _unknown(path + key, key, entries) for key in raw if key not in entries}


def _read_section(kind: type[Any], raw: Mapping[str, Any], path: str) -> tuple[Any, list[str]]:
    """Read a struct whose keys may hold further ones."""
    values, unknown = _read_fields(kind, raw, f"{path}.")
    warnings = list(unknown.values())
    for entry in dataclasses.fields(kind):
        reader = key_info(entry).reader if entry.metadata else None
        if isinstance(reader, ObjectOf) and entry.name in values:
            inner = f"{path}.{entry.metadata['key']}"
            section = SECTIONS[reader.definition]
            values[entry.name], more = _read_section(section, values[entry.name], inner)
            warnings += more
    return kind(**values), warnings


def _read_value(reader: Reader, value: Any, path: str) -> Any:
    try:
        return reader(value)
    except ValueError as error:
        got = type(value).__name__ if getattr(reader, "is_secret", False) else _shown(value)
        raise ConfigError(f"{path}: expected {error}, got {got}") from None


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
