"""What each runtime is tried with: a tiny model, its devices, and what to do where one does not run."""

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from runtimes import EXTRAS
from runtimes.litert_devices import DELEGATES
from runtimes.onnx_devices import DEVICES as PROVIDERS
from runtimes.openvino_devices import HARDWARE
from worker.cli.tiny_model import tiny_model, tiny_script, tiny_tflite


@dataclass(frozen=True, slots=True)
class Trial:
    """How a runtime is tried."""

    runtime: str
    file: str
    """Name of the tiny model's file; its suffix says what it is."""
    content: Callable[[], bytes]
    devices: tuple[str, ...]
    absence: Callable[[str, str], str | None]
    """Takes a device and why the CPU ran in its place; returns what is not there, None where it is broken."""
    installs: Mapping[str, tuple[str, str]]
    """Device → the systems that it is for, "" for all, and the steps that bring it."""
    remedies: Mapping[str, str]
    """Device → what to do where it is there, and does not start; else what brings it."""

    def step_for(self, device: str) -> str:
        """Return what brings a device."""
        system, steps = self.installs.get(device, ("", ""))
        if platform.system().replace("Darwin", "macOS") not in system and system:
            return f"on {system} alone"
        return steps or f"pip install --force-reinstall 'inferpipe[{EXTRAS[self.runtime]}]'"

    def remedy_for(self, device: str) -> str:
        """Return what to do where a device does not start."""
        return self.remedies.get(device) or self.step_for(device)


def _absent_provider(device: str, reason: str) -> str | None:
    provider = PROVIDERS[device]
    return (
        f"the installed onnxruntime has no {provider.provider}" if reason.endswith(provider.remedy) else None
    )


def _absent_hardware(_device: str, reason: str) -> str | None:
    return None if "did not start" in reason else reason.partition(": ")[0]


def _absent_accelerator(_device: str, reason: str) -> str | None:
    return None if " failed: " in reason else reason.partition(": ")[0]


def _absent_delegate(device: str, reason: str) -> str | None:
    delegate = DELEGATES[device]
    if reason.count("cannot open shared object") >= len(delegate.libraries):
        return f"{' or '.join(delegate.libraries)} is not here"
    return reason.removesuffix(f": {delegate.remedy}")


_GPU = "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"

TRIALS: Mapping[str, Trial] = {
    trial.runtime: trial
    for trial in (
        Trial(
            "onnxruntime",
            "tiny.onnx",
            tiny_model,
            tuple(PROVIDERS),
            _absent_provider,
            {
                "cpu": ("", "pip install --force-reinstall onnxruntime"),
                "cuda": ("Linux and Windows", _GPU),
                "tensorrt": ("Linux and Windows", f"{_GPU}; pip install tensorrt"),
                "coreml": ("macOS", "pip install --force-reinstall onnxruntime"),
                "openvino": (
                    "Linux and Windows",
                    "pip uninstall onnxruntime; pip install onnxruntime-openvino",
                ),
                "directml": ("Windows", "pip uninstall onnxruntime; pip install onnxruntime-directml"),
            },
            {
                "cuda": "nvidia-smi shows whether the driver works; "
                "pip install 'onnxruntime-gpu[cuda,cudnn]'",
                "tensorrt": "pip install tensorrt",
            },
        ),
        Trial(
            "openvino",
            "tiny.onnx",
            tiny_model,
            tuple(name.lower() for name in HARDWARE),
            _absent_hardware,
            {
                "gpu": ("Linux and Windows", "install the driver of Intel's GPU, where there is one"),
                "npu": ("Linux and Windows", "install the driver of Intel's NPU, where there is one"),
            },
            {},
        ),
        Trial(
            "litert",
            "tiny.tflite",
            tiny_tflite,
            ("cpu", "gpu"),
            _absent_delegate,
            {"gpu": ("", DELEGATES["gpu"].remedy)},
            {},
        ),
        Trial(
            "torch",
            "tiny.pt",
            tiny_script,
            ("cpu", "cuda", "mps"),
            _absent_accelerator,
            {
                "cuda": ("Linux and Windows", "install a CUDA build of torch, and NVIDIA's driver"),
                "mps": ("macOS", "pip install --upgrade torch"),
            },
            {"cuda": "nvidia-smi shows whether the driver works"},
        ),
    )
}
"""Runtimes that a tiny model can be written for."""
