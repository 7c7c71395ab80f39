"""The ready answer: what a host learns of the worker that it has configured."""

from importlib.util import find_spec
from typing import Any

from protocol.session import HIGHEST_PROTOCOL
from runtimes import KNOWN_RUNTIMES, runtime_names
from worker.config import WorkerConfig
from worker.config_readers import ConfigError
from worker.service import Service

_FEATURES = ("adaptive", "options", "shared", "metrics", "cancel")
"""What of the protocol's version 3 works in every process."""

AUTO = "auto"
"""The runtime that is chosen by the kind of a model's file."""


def check_runtime(config: WorkerConfig) -> None:
    """Refuse a configuration whose runtime nobody knows; one that cannot run here is the slots' matter.

    Raises:
        ConfigError: the runtime is unknown.
    """
    if config.runtime in KNOWN_RUNTIMES or config.runtime == AUTO:
        return
    if config.runtime not in runtime_names():  # looks through what is installed: 20 ms
        known = ", ".join((AUTO, *runtime_names()))
        raise ConfigError(f"runtime: expected one of {known}, got {config.runtime!r}")


def features() -> list[str]:
    """Return what of the protocol's version 3 works in this process."""
    return [*_FEATURES, "stream"] if _is_installed("av") else list(_FEATURES)


def _is_installed(module: str) -> bool:
    """Tell whether a library is here, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # refused by a finder, or a module without a spec
        return False


def ready_fields(service: Service, warnings: list[str]) -> dict[str, Any]:
    """Return the ready answer.

    Args:
        service: all its configured slots have been tried.
        warnings: of the configuration outside the models.
    """
    slots = service.slots
    return {
        "status": "ready",
        "models": slots.loaded_count,
        "total": len(service.config.models),
        "startupMs": service.uptime_ms(),
        "runtime": service.config.runtime,
        "workers": service.workers,
        "protocol": HIGHEST_PROTOCOL,
        "features": features(),
        "warnings": warnings + slots.warnings,
        "limits": service.config.limits.as_wire(),
        "slots": [slots.fields(index) for index in range(len(slots))],
    }
