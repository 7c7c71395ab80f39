"""Which Core ML compute units a device name asks for. Imports no library."""

from dataclasses import dataclass

from runtimes.spec import DeviceReport

DEFAULT_DEVICE = "all"

UNITS = {
    "cpu": "CPU_ONLY",
    "gpu": "CPU_AND_GPU",
    "ane": "CPU_AND_NE",
    "all": "ALL",
}
"""A device's name → the library's `ComputeUnit`. The CPU always takes what the others cannot run."""


@dataclass(frozen=True, slots=True)
class UnitChoice:
    """What to load a model for."""

    unit: str
    report: DeviceReport
    """Core ML does not tell where a model runs: what it was allowed is reported as in effect."""


def choose_units(device: str) -> UnitChoice:
    """Return the compute units for a device name, all of them for an unknown one, with the reason."""
    asked = device.strip() or DEFAULT_DEVICE
    name = asked.lower()
    if name in UNITS:
        return UnitChoice(UNITS[name], DeviceReport(asked, name))
    reason = f"unknown device {asked!r}: expected one of {', '.join(UNITS)}"
    return UnitChoice(UNITS[DEFAULT_DEVICE], DeviceReport(asked, DEFAULT_DEVICE, reason))
