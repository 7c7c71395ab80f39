"""Which OpenVINO device a name asks for, what to do where one is missing, and how each is tuned."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from runtimes.options import RuntimeOptions
from runtimes.spec import DeviceReport

AUTO = "AUTO"
CPU = "CPU"
GPU = "GPU"
HARDWARE = (CPU, GPU, "NPU")
VIRTUAL = (AUTO, "MULTI", "HETERO")
"""Devices that stand for others: `AUTO`, `AUTO:GPU,CPU`, `MULTI:GPU,CPU`, `HETERO:GPU,CPU`."""

LATENCY = "LATENCY"
THROUGHPUT = "THROUGHPUT"

# As OpenVINO writes them: a leading "-" leaves a device out, "(n)" gives it n requests.
_MEMBER = re.compile(r"(-?)([A-Z]+)((?:\.\d+)*)(?:\(\d+\))?")


@dataclass(frozen=True, slots=True)
class DeviceChoice:
    """What to compile a model for."""

    asked: str
    """The device as configured; the default's name where none was."""
    name: str
    """As the library takes it: "CPU", "AUTO", "MULTI:GPU,CPU" …"""
    reason: str | None = None
    """Why it is not what was asked for; None where it is."""

    @property
    def virtual(self) -> str | None:
        """The virtual device, without those behind it; None where the name is a device's own."""
        head = self.name.partition(":")[0]
        return head if head in VIRTUAL else None


def choose_device(device: str, available: Collection[str]) -> DeviceChoice:
    """Return what to compile for: the asked device, or AUTO with the reason why not.

    Args:
        device: as configured, any case; "" is the default. Of the devices behind a virtual one, those
            that are not here are left out, and the reason says so.
        available: the devices that the library has found here.
    """
    asked = device.strip() or AUTO
    head, colon, rest = asked.upper().partition(":")
    head = head.strip()
    if head not in VIRTUAL:
        reason = _absence(asked.upper(), available, asked)
        return DeviceChoice(asked, AUTO if reason else asked.upper(), reason)
    members = [member.strip() for member in rest.split(",") if member.strip()]
    if not members:
        if head == AUTO and not colon:
            return DeviceChoice(asked, AUTO)
        return DeviceChoice(asked, AUTO, f"{asked!r} names no device behind {head}")
    absences = {member: _absence(member, available, member) for member in members}
    here = [member for member, text in absences.items() if not text]
    # To leave out what is not here is no disappointment.
    reason = "; ".join(t for member, t in absences.items() if t and not member.startswith("-")) or None
    if head == AUTO and here == [CPU]:
        return DeviceChoice(asked, CPU, reason)  # AUTO takes no CPU alone without its helpers
    return DeviceChoice(asked, f"{head}:{','.join(here)}" if here else AUTO, reason)


def cpu_instead(choice: DeviceChoice, reason: str) -> DeviceChoice:
    """Return the CPU in place of a device that did not start, and why."""
    return DeviceChoice(choice.asked, CPU, "; ".join(filter(None, [choice.reason, reason])))


def report_device(choice: DeviceChoice, execution_devices: Sequence[str]) -> DeviceReport:
    """Return the device by what the library says a model runs on: "cpu", "gpu.0", "gpu,cpu".

    Args:
        choice: what the model was compiled for.
        execution_devices: the property EXECUTION_DEVICES; names in parentheses are AUTO's helpers for
            the time until its choice is ready.
    """
    names = [name.strip("() ").lower() for name in execution_devices]
    return DeviceReport(choice.asked, ",".join(names) or choice.name.lower(), choice.reason)


def _absence(member: str, available: Collection[str], shown: str) -> str | None:
    """Return why a device cannot be used here, None where it can."""
    match = _MEMBER.fullmatch(member)
    family = match[2] if match else member
    name = family + match[3] if match else member
    if name in available or family in {one.partition(".")[0] for one in available if name == family}:
        return None
    found = ", ".join(available) or "none"
    if family in HARDWARE:
        return f"OpenVINO finds no {name} here, only {found}: is its driver installed?"
    expected = ", ".join((*VIRTUAL, *HARDWARE))
    return f"unknown device {shown!r}: expected one of {expected}, with what OpenVINO finds here: {found}"


@dataclass(frozen=True, slots=True)
class Tuning:
    """How a model is to use its device."""

    hint: str
    threads: int
    """Native threads on the CPU, of all streams together."""
    streams: int | None
    """Predict calls that run side by side on the device; None lets the library decide."""
    lanes: int
    half: bool | None
    cache_dir: str | None


def tune(options: RuntimeOptions, cores: int) -> Tuning:
    """Return the tuning for some lanes on some cores.

    One lane is tuned for latency: one stream with all threads. Several are tuned for throughput, with a
    stream each: YOLOv8n, two lanes on 2 cores, 45.1 frames/s against 43.3 with one stream that they
    take in turns; on a busy machine a fifth more.
    """
    lanes = max(1, options.lanes)
    hint = (options.hint or (LATENCY if lanes == 1 else THROUGHPUT)).upper()
    threads = options.intra_threads * lanes if options.intra_threads else cores
    streams = options.streams
    if streams is None and (hint == LATENCY or lanes > 1):
        streams = min(lanes, threads)
    return Tuning(hint, threads, streams, lanes, options.half, options.cache_dir)


def properties(choice: DeviceChoice, tuning: Tuning, available: Collection[str]) -> dict[str, Any]:
    """Return the library's properties to compile a model with."""
    common: dict[str, Any] = {"PERFORMANCE_HINT": tuning.hint}
    if tuning.cache_dir:
        common["CACHE_DIR"] = tuning.cache_dir
    virtual = choice.virtual
    if virtual is None:
        return common | _of_hardware(choice.name, tuning)
    if virtual == AUTO:
        # AUTO would begin on the CPU while it compiles for its choice, and move to another device where
        # that one fails: what is reported would not be what runs.
        common |= {"ENABLE_STARTUP_FALLBACK": False, "ENABLE_RUNTIME_FALLBACK": False}
    members = choice.name.partition(":")[2].split(",")
    return common | {"DEVICE_PROPERTIES": _of_members(members, tuning, available)}


def _of_members(
    members: Sequence[str], tuning: Tuning, available: Collection[str]
) -> dict[str, dict[str, Any]]:
    """Return the settings of each kind of device behind a virtual one: all, where none is named."""
    matches = [match for match in map(_MEMBER.fullmatch, members) if match]
    left_out = {match[2] for match in matches if match[1]}
    named = [match[2] for match in matches if not match[1]]
    families = dict.fromkeys(named or [one.partition(".")[0] for one in available])
    settings = {family: _of_hardware(family, tuning) for family in families if family not in left_out}
    return {family: values for family, values in settings.items() if values}


def _of_hardware(name: str, tuning: Tuning) -> dict[str, Any]:
    """Return what is set for one kind of device; the library knows best about others."""
    match name.partition(".")[0]:
        case "CPU":
            return _of_cpu(tuning)
        case "GPU":
            return _of_gpu(tuning)
        case _:
            return {}


def _of_cpu(tuning: Tuning) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "INFERENCE_NUM_THREADS": tuning.threads,
        # The cores are shared with the prepare pool and with other models; alone, pinning gains nothing.
        "ENABLE_CPU_PINNING": False,
    }
    if not tuning.half:
        # The library computes in bfloat16 where the processor can: 1.5 times as fast, but YOLOv8n's
        # boxes move by up to 1.4 px, its scores by 0.012.
        settings["INFERENCE_PRECISION_HINT"] = "f32"
    if tuning.streams is not None:
        settings["NUM_STREAMS"] = tuning.streams
    return settings


def _of_gpu(tuning: Tuning) -> dict[str, Any]:
    """16-bit floats are a GPU's own choice."""
    settings: dict[str, Any] = {"PERFORMANCE_HINT_NUM_REQUESTS": tuning.lanes}
    if tuning.half is not None:
        settings["INFERENCE_PRECISION_HINT"] = "f16" if tuning.half else "f32"
    if tuning.streams is not None:
        settings["NUM_STREAMS"] = tuning.streams
    return settings
