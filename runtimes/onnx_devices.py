"""Which ONNX Runtime execution providers a device name asks for, and what to do where one is missing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from runtimes.spec import DeviceReport

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"
COREML = "CoreMLExecutionProvider"
OPENVINO = "OpenVINOExecutionProvider"
DIRECTML = "DmlExecutionProvider"

DEFAULT_DEVICE = "cpu"
ALIASES = {"": DEFAULT_DEVICE, "dml": "directml"}


@dataclass(frozen=True, slots=True)
class OnnxDevice:
    """What a device name stands for."""

    provider: str
    remedy: str
    """What to do where this build of the library does not have the provider."""
    helpers: tuple[str, ...] = ()
    """Providers that take what the first one cannot run, before the CPU does."""


DEVICES: dict[str, OnnxDevice] = {
    "cpu": OnnxDevice(CPU, "reinstall onnxruntime"),
    "cuda": OnnxDevice(CUDA, "install onnxruntime-gpu in place of onnxruntime"),
    "tensorrt": OnnxDevice(TENSORRT, "install onnxruntime-gpu in place of onnxruntime", helpers=(CUDA,)),
    "coreml": OnnxDevice(COREML, "onnxruntime has it on macOS alone"),
    "openvino": OnnxDevice(OPENVINO, "install onnxruntime-openvino in place of onnxruntime"),
    "directml": OnnxDevice(DIRECTML, "install onnxruntime-directml in place of onnxruntime, on Windows"),
}

_NAMES = {device.provider: name for name, device in DEVICES.items()}


@dataclass(frozen=True, slots=True)
class ProviderChoice:
    """What to open a session with."""

    asked: str
    """The device as configured; the default's name where none was."""
    provider: str
    """The first of `providers`: the one that should be in effect."""
    providers: tuple[str, ...]
    """In order of preference; the CPU is the last."""
    reason: str | None = None
    """Why it is not what was asked for; None where it is."""


def choose_providers(device: str, available: Collection[str]) -> ProviderChoice:
    """Return the providers for a device name, the CPU alone where the asked one cannot be had.

    Args:
        device: as configured, any case; "" is the default. An unknown name means the CPU.
        available: the providers that the installed library was built with.
    """
    asked = device.strip() or DEFAULT_DEVICE
    name = asked.lower()
    wanted = DEVICES.get(ALIASES.get(name, name))
    if wanted is None:
        return cpu_alone(asked, f"unknown device {asked!r}: expected one of {', '.join(DEVICES)}")
    if wanted.provider not in available:
        return cpu_alone(asked, f"the installed onnxruntime has no {wanted.provider}: {wanted.remedy}")
    helpers = (provider for provider in wanted.helpers if provider in available)
    providers = tuple(dict.fromkeys((wanted.provider, *helpers, CPU)))
    return ProviderChoice(asked, wanted.provider, providers)


def cpu_alone(asked: str, reason: str | None) -> ProviderChoice:
    """Return the CPU in place of a device that cannot be had, and why."""
    return ProviderChoice(asked, CPU, (CPU,), reason)


def report_device(choice: ProviderChoice, in_effect: Sequence[str]) -> DeviceReport:
    """Return the device by what a session really has, never by what it was opened with."""
    first = in_effect[0] if in_effect else CPU
    reason = choice.reason
    if reason is None and first != choice.provider:
        reason = f"{choice.provider} did not start, onnxruntime's log says why; is its driver installed?"
    return DeviceReport(asked=choice.asked, effective=_NAMES.get(first, first), fallback_reason=reason)
