"""Core ML's compute units by device name."""

import pytest

from runtimes.coreml_devices import choose_units


@pytest.mark.parametrize(
    ("device", "unit", "asked", "effective"),
    [
        ("", "ALL", "all", "all"),
        ("all", "ALL", "all", "all"),
        ("CPU", "CPU_ONLY", "CPU", "cpu"),
        ("gpu", "CPU_AND_GPU", "gpu", "gpu"),
        (" ane ", "CPU_AND_NE", "ane", "ane"),
    ],
)
def test_names(device: str, unit: str, asked: str, effective: str) -> None:
    choice = choose_units(device)
    assert choice.unit == unit
    assert (choice.report.asked, choice.report.effective) == (asked, effective)
    assert choice.report.fallback_reason is None


def test_an_unknown_name_means_all_with_the_reason() -> None:
    choice = choose_units("cuda")
    assert (choice.unit, choice.report.asked, choice.report.effective) == ("ALL", "cuda", "all")
    assert "unknown device 'cuda': expected one of cpu, gpu, ane, all" in str(choice.report.fallback_reason)
