"""Which runtimes read which kind of file, and the devices of each that work here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from urllib.parse import unquote, urlsplit

from model_files.names import file_name
from model_files.progress import size_text
from runtimes import EXTRAS, RUNTIMES, get_runtime, runtime_for
from runtimes.errors import ModelLoadError, RuntimeUnavailableError, UnknownRuntimeError
from worker.cli.doctor_devices import usable_devices
from worker.cli.failures import CommandFailed


@dataclass(frozen=True, slots=True)
class FileKind:
    """What a model file is."""

    text: str
    """For a person."""
    runtimes: tuple[str, ...]
    """Those that read it; that of "auto" first."""


_SCRIPT = FileKind("PyTorch program (TorchScript)", ("torch",))
_CORE_ML = FileKind("Core ML model", ("coreml",))

KINDS: Mapping[str, FileKind] = {
    ".onnx": FileKind("ONNX model", ("onnxruntime", "openvino")),
    ".ort": FileKind("ONNX Runtime's own format", ("onnxruntime",)),
    ".xml": FileKind("OpenVINO IR", ("openvino",)),
    ".bin": FileKind("weights of an OpenVINO IR", ("openvino",)),
    ".tflite": FileKind("TensorFlow Lite model", ("litert", "openvino")),
    ".pt": _SCRIPT,
    ".pth": _SCRIPT,
    ".pt2": FileKind("PyTorch program (torch.export)", ("torch",)),
    ".mlmodel": _CORE_ML,
    ".mlpackage": _CORE_ML,
    ".mlmodelc": _CORE_ML,
}
"""A file's suffix, lower case → what it is."""


@dataclass(frozen=True, slots=True)
class Way:
    """A runtime on a device."""

    runtime: str
    device: str
    """As it is asked for; "" is the runtime's default."""

    def __str__(self) -> str:
        return f"{self.runtime} on {self.device}" if self.device else self.runtime


@dataclass(frozen=True, slots=True)
class Refusal:
    """A way that was not gone."""

    way: Way
    why: str
    then: str = ""
    """What to do about it."""
    wanted: bool = False
    """Whether it was asked for by name: then it is a failure."""


def kind_of(model: str, chosen: Sequence[str], *, strict: bool) -> FileKind:
    """Return what a file is, by its name, with the runtimes to run it in.

    Args:
        model: as it was asked for.
        chosen: runtimes that were asked for; where some of them read this kind of file, those do.
        strict: whether they are meant for this file even where none of them does.

    Raises:
        CommandFailed: neither the name nor anybody tells which runtime it is for.
    """
    kind = KINDS.get(PurePath(file_name(model)).suffix.lower())
    if kind is None or model.startswith("fake:"):
        kind = FileKind("model", tuple(chosen) or (_by_name(model),))
    # Of runtimes that are not built in, only who asked for them knows what they read.
    wanted = [name for name in chosen if name in kind.runtimes or name not in RUNTIMES]
    return FileKind(kind.text, tuple(dict.fromkeys(wanted or (chosen if strict else ()))) or kind.runtimes)


def model_size_text(model: str) -> str:
    """Return the size of a model's files, weights beside it included; "" where it is no local one."""
    path = Path(unquote(urlsplit(model).path)) if model.startswith("file:") else Path(model)
    weights = [path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else []
    files = path.rglob("*") if path.is_dir() else [path, *weights]
    try:
        size = sum(file.stat().st_size for file in files if file.is_file())
    except OSError:
        return ""
    return size_text(size) if size else ""


def unavailable(runtime: str) -> Refusal | None:
    """Return why a runtime cannot be had here, None where it can."""
    try:
        get_runtime(runtime)
    except UnknownRuntimeError as error:
        return Refusal(Way(runtime, ""), str(error), "name one of those")
    except RuntimeUnavailableError as error:
        why, _, install = str(error).partition("; pip install ")
        return Refusal(Way(runtime, ""), why, f"pip install {install}" if install else _elsewhere(runtime))
    return None


class WayFinder:
    """Finds the devices of each runtime once, however many models are run."""

    def __init__(self, device: str | None, *, debug: bool) -> None:
        """`device` is the one that was asked for; None takes all that work here."""
        self._device = device
        self._debug = debug
        self._found: dict[str, list[str]] = {}

    async def ways_of(self, runtime: str) -> list[Way]:
        """Return a way for each device that works here: the one that was asked for, else all of them."""
        if self._device:
            return [Way(runtime, self._device)]
        if runtime not in self._found:
            self._found[runtime] = await usable_devices(runtime, debug=self._debug)
        return [Way(runtime, device) for device in self._found[runtime]]


def _by_name(model: str) -> str:
    try:
        return runtime_for(file_name(model))
    except ModelLoadError as error:
        then = "name the runtime with --runtime, or give the file its usual suffix"
        raise CommandFailed(f"the model {model} cannot be loaded", str(error), then) from error


def _elsewhere(runtime: str) -> str:
    if runtime == "coreml":
        return "run verify on a Mac; for other systems export the model as ONNX"
    return f"pip install 'inferpipe[{EXTRAS[runtime]}]'" if runtime in EXTRAS else ""
