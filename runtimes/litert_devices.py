"""Which delegate libraries a device name asks LiteRT for."""

import ctypes
import sys
from dataclasses import dataclass
from typing import Any

from runtimes.spec import DeviceReport

CPU = "cpu"
ALIASES = {"": CPU, "coral": "edgetpu"}

EDGETPU_OP = "edgetpu-custom-op"
"""What the Edge TPU's compiler leaves in a model that it has compiled."""


@dataclass(frozen=True, slots=True)
class DelegateDevice:
    """A device that a delegate drives."""

    libraries: tuple[str, ...]
    """File names for the system's loader, tried in this order."""
    remedy: str
    """What to do where none of them can be loaded."""
    needs_op: str | None = None
    """A model without this custom operator gives the delegate nothing to do."""


_EDGETPU_LIBRARIES = {"linux": "libedgetpu.so.1", "darwin": "libedgetpu.1.dylib", "win32": "edgetpu.dll"}
_GPU_LIBRARIES = {
    "linux": ("libtensorflowlite_gpu_external_delegate.so", "libtensorflowlite_gpu_delegate.so"),
    "darwin": ("libtensorflowlite_gpu_external_delegate.dylib", "libtensorflowlite_gpu_delegate.dylib"),
    "win32": ("tensorflowlite_gpu_external_delegate.dll", "tensorflowlite_gpu_delegate.dll"),
}

DELEGATES: dict[str, DelegateDevice] = {
    "gpu": DelegateDevice(
        _GPU_LIBRARIES.get(sys.platform, ()),
        "put TensorFlow Lite's GPU delegate, which no package installs, where the system finds libraries",
    ),
    "edgetpu": DelegateDevice(
        (_EDGETPU_LIBRARIES.get(sys.platform, "libedgetpu.so.1"),),
        "install Coral's Edge TPU runtime (libedgetpu1-std)",
        needs_op=EDGETPU_OP,
    ),
}

DEVICES = (CPU, *DELEGATES)


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """What to open a model's interpreters with."""

    asked: str
    """The device as configured; the default's name where none was."""
    name: str = CPU
    """"cpu" or a key of `DELEGATES`."""
    reason: str | None = None
    """Why it is not what was asked for; None where it is."""

    def instead(self, reason: str) -> "DeviceChoice":
        """Return the CPU in place of this device, and why."""
        return DeviceChoice(self.asked, CPU, reason)

    def report(self) -> DeviceReport:
        """Return the choice as the slot reports it."""
        return DeviceReport(self.asked, self.name, self.reason)


def choose_device(device: str, custom_ops: frozenset[str]) -> DeviceChoice:
    """Return what a device name means for a model.

    Args:
        device: as configured, any case; "" is the default. An unknown name means the CPU.
        custom_ops: names of the custom operators in the model.
    """
    choice = DeviceChoice(device.strip() or CPU)
    name = ALIASES.get(choice.asked.lower(), choice.asked.lower())
    if name == CPU:
        return choice
    delegate = DELEGATES.get(name)
    if delegate is None:
        return choice.instead(f"unknown device {choice.asked!r}: expected one of {', '.join(DEVICES)}")
    if delegate.needs_op and delegate.needs_op not in custom_ops:
        return choice.instead(f"the model holds no {delegate.needs_op}: compile it with edgetpu_compiler")
    return DeviceChoice(choice.asked, name)


def load_delegates(library: Any, name: str) -> list[Any]:
    """Load a device's delegate anew, as each interpreter has one of its own; none for the CPU.

    Args:
        library: the module that has `load_delegate`.
        name: "cpu" or a key of `DELEGATES`.

    Raises:
        OSError: no library of the device can be loaded, or it finds no device; the text says what to do.
    """
    if name == CPU:
        return []
    delegate = DELEGATES[name]
    causes = []
    for file in delegate.libraries:
        try:
            ctypes.CDLL(file)  # first: the library's own delegate that has not found its file fails once more
            return [library.load_delegate(file)]
        # Without a device Coral's library gives an empty message.
        except (OSError, ValueError, RuntimeError, AttributeError) as exc:
            causes.append(" ".join(str(exc).split()) or f"{file} found no device")
    raise OSError(f"{'; '.join(causes) or 'there is none for this platform'}: {delegate.remedy}")
