"""Device names: which delegates they ask for, and what is said where one cannot be had."""

import _ctypes
from types import SimpleNamespace

import pytest

from runtimes.litert_devices import DELEGATES, EDGETPU_OP, DelegateDevice, choose_device, load_delegates

NO_OPS: frozenset[str] = frozenset()

# configured, custom operators of the model, (asked, effective), the reason's beginning
CHOICES = [
    ("", NO_OPS, ("cpu", "cpu"), None),
    ("CPU", NO_OPS, ("CPU", "cpu"), None),
    ("gpu", NO_OPS, ("gpu", "gpu"), None),
    (" GPU ", NO_OPS, ("GPU", "gpu"), None),
    ("coral", frozenset({EDGETPU_OP}), ("coral", "edgetpu"), None),
    ("edgetpu", NO_OPS, ("edgetpu", "cpu"), "the model holds no edgetpu-custom-op: compile it"),
    ("npu", NO_OPS, ("npu", "cpu"), "unknown device 'npu': expected one of cpu, gpu, edgetpu"),
]


@pytest.mark.parametrize(("device", "ops", "devices", "reason"), CHOICES)
def test_names(device: str, ops: frozenset[str], devices: tuple[str, str], reason: str | None) -> None:
    report = choose_device(device, ops).report()
    assert (report.asked, report.effective) == devices
    assert (report.fallback_reason or "").startswith(reason or "")
    assert (report.fallback_reason is None) == (reason is None)


def test_the_cpu_needs_none() -> None:
    assert load_delegates(SimpleNamespace(), "cpu") == []


def test_a_missing_library_says_what_to_install() -> None:
    with pytest.raises(OSError, match=r"edgetpu.*: install Coral's Edge TPU runtime"):
        load_delegates(SimpleNamespace(), "edgetpu")


def test_the_second_library_serves_where_the_first_finds_no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    # A shared library that is everywhere stands for two delegates; the loading itself is doubled.
    monkeypatch.setitem(DELEGATES, "gpu", DelegateDevice((_ctypes.__file__,) * 2, "buy one"))
    answers = iter([ValueError(""), "delegate"])

    def load(_file: str) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert load_delegates(SimpleNamespace(load_delegate=load), "gpu") == ["delegate"]


def test_a_library_without_a_device_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DELEGATES, "gpu", DelegateDevice((_ctypes.__file__,), "buy one"))

    def load(_file: str) -> None:
        raise ValueError("")

    with pytest.raises(OSError, match="found no device: buy one"):
        load_delegates(SimpleNamespace(load_delegate=load), "gpu")
