"""Compiles a model's files for a device and runs tensors through it. Imports no library by itself."""

from importlib import import_module
from typing import cast

from runtimes.base import Runtime
from runtimes.errors import RuntimeUnavailableError, UnknownRuntimeError
from runtimes.file_kinds import runtime_for

__all__ = ["KNOWN_RUNTIMES", "RUNTIMES", "get_runtime", "runtime_for", "runtime_names"]

RUNTIMES: dict[str, str] = {
    "onnxruntime": "runtimes.onnx:OnnxRuntime",
    "openvino": "runtimes.openvino:OpenVinoRuntime",
    "litert": "runtimes.litert:LitertRuntime",
    "coreml": "runtimes.coreml:CoreMLRuntime",
    "torch": "runtimes.torch:TorchRuntime",
    "fake": "runtimes.fake:FakeRuntime",
}
"""Name → "module:Class" of its adapter, imported when a slot first asks for it."""

KNOWN_RUNTIMES = frozenset(RUNTIMES)
"""Names that are no mistake of the host; whether one can run here, `get_runtime` tells."""

ENTRY_POINT_GROUP = "inferpipe.runtimes"
"""Entry points by which other distributions add runtimes; they cannot replace a built-in one."""

EXTRAS = {
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "litert": "litert",
    "coreml": "coreml",
    "torch": "torch",
}
"""The extra of this distribution that installs a runtime's library."""


def get_runtime(name: str) -> Runtime:
    """Return the runtime of this name, importing its library.

    Raises:
        UnknownRuntimeError: there is none of this name.
        RuntimeUnavailableError: its library is not installed, or cannot be loaded on this platform.
    """
    target = RUNTIMES.get(name) or _third_parties().get(name)
    if target is not None:
        return _load(name, target)
    raise UnknownRuntimeError(f"unknown runtime {name!r}: expected one of {', '.join(runtime_names())}")


def runtime_names() -> tuple[str, ...]:
    """Return every known name, those of other distributions included."""
    return tuple(sorted(KNOWN_RUNTIMES | _third_parties().keys()))


def _third_parties() -> dict[str, str]:
    """Return what other distributions register: name → "module:Class"."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that a start without third parties need not wait for

    return {entry.name: entry.value for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _load(name: str, target: str) -> Runtime:
    module, _, attribute = target.partition(":")
    try:
        return cast("Runtime", getattr(import_module(module), attribute)())
    except (ImportError, OSError) as exc:  # OSError: a shared library that cannot be loaded
        raise RuntimeUnavailableError(_unavailable_text(name, exc)) from exc


def _unavailable_text(name: str, exc: ImportError | OSError) -> str:
    reason = " ".join(str(exc).split())
    extra = EXTRAS.get(name)
    hint = f"; pip install 'inferpipe[{extra}]'" if extra else ""
    return f"runtime {name} cannot be loaded: {reason}{hint}"
