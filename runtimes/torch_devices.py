"""Which PyTorch device a name asks for, and what to do where it is not there. Imports no library."""

import re
from dataclasses import dataclass

from runtimes.spec import DeviceReport

CPU = "cpu"
MPS = "mps"

DEFAULT_DEVICE = CPU
_CUDA = re.compile(r"cuda(?::(\d{1,3}))?")


@dataclass(frozen=True, slots=True)
class Accelerators:
    """What the installed library and this machine have beside the CPU."""

    cuda_built: bool = False
    """The library was built for CUDA (or ROCm, which goes by the same name)."""
    cuda_devices: int = 0
    mps: bool = False


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """Where to put a model."""

    asked: str
    """The device as configured; the default's name where none was."""
    device: str
    """The library's name: "cpu", "cuda", "cuda:1", "mps"."""
    reason: str | None = None
    """Why it is not what was asked for; None where it is."""

    @property
    def on_cuda(self) -> bool:
        """Whether copies to the device are worth pinned memory and a stream."""
        return self.device.startswith("cuda")


def choose_device(device: str, found: Accelerators) -> DeviceChoice:
    """Return the device of a name, the CPU where it cannot be had.

    Args:
        device: as configured, any case; "" is the CPU, and so is an unknown name, with the reason.
        found: what there is.
    """
    asked = device.strip() or DEFAULT_DEVICE
    name = asked.lower()
    cuda = _CUDA.fullmatch(name)
    if cuda is not None:
        missing = _no_cuda(int(cuda[1] or 0), found)
        return cpu_instead(asked, missing) if missing else DeviceChoice(asked, name)
    if name == MPS:
        missing = "this machine has no Metal device that the installed torch can use"
        return DeviceChoice(asked, MPS) if found.mps else cpu_instead(asked, missing)
    if name == CPU:
        return DeviceChoice(asked, CPU)
    return cpu_instead(asked, f"unknown device {asked!r}: expected one of cpu, cuda, cuda:0 …, mps")


def cpu_instead(asked: str, reason: str) -> DeviceChoice:
    """Return the CPU in place of a device that cannot be had, and why."""
    return DeviceChoice(asked, CPU, reason)


def report_device(choice: DeviceChoice, remark: str | None = None) -> DeviceReport:
    """Return the device in effect.

    Args:
        choice: where the model is.
        remark: what else is not as it was asked for.
    """
    reasons = [text for text in (choice.reason, remark) if text]
    return DeviceReport(choice.asked, choice.device, "; ".join(reasons) or None)


def _no_cuda(index: int, found: Accelerators) -> str | None:
    if not found.cuda_built:
        return "the installed torch is built without CUDA: install a CUDA build of it"
    if not found.cuda_devices:
        return "no CUDA device was found: is its driver installed, and new enough for this torch?"
    if index >= found.cuda_devices:
        return f"there is no CUDA device {index}: this machine has {found.cuda_devices}, counted from 0"
    return None
