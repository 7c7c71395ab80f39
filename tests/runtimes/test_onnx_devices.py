"""Device names, the providers behind them, and why another one is in effect."""

import pytest

from runtimes.onnx_devices import (
    COREML,
    CPU,
    CUDA,
    DEVICES,
    DIRECTML,
    OPENVINO,
    TENSORRT,
    choose_providers,
    report_device,
)

EVERYTHING = frozenset({CPU, CUDA, TENSORRT, COREML, OPENVINO, DIRECTML})


@pytest.mark.parametrize(
    ("device", "providers"),
    [
        ("", (CPU,)),
        ("cpu", (CPU,)),
        ("CPU", (CPU,)),
        ("cuda", (CUDA, CPU)),
        ("Cuda", (CUDA, CPU)),
        ("tensorrt", (TENSORRT, CUDA, CPU)),
        ("coreml", (COREML, CPU)),
        ("openvino", (OPENVINO, CPU)),
        ("directml", (DIRECTML, CPU)),
        ("DML", (DIRECTML, CPU)),
        (" cuda ", (CUDA, CPU)),
    ],
)
def test_a_known_device_comes_first_and_the_cpu_last(device: str, providers: tuple[str, ...]) -> None:
    choice = choose_providers(device, EVERYTHING)
    assert (choice.providers, choice.provider, choice.reason) == (providers, providers[0], None)
    report = report_device(choice, providers)
    assert report.asked == (device.strip() or "cpu")
    assert DEVICES[report.effective].provider == providers[0]
    assert report.fallback_reason is None


@pytest.mark.parametrize("device", ["gpu", "ane", "cuda:1", "AUTO"])
def test_an_unknown_device_means_the_cpu_and_says_so(device: str) -> None:
    choice = choose_providers(device, EVERYTHING)
    assert choice.providers == (CPU,)
    report = report_device(choice, [CPU])
    assert (report.asked, report.effective) == (device, "cpu")
    assert "unknown device" in str(report.fallback_reason)


@pytest.mark.parametrize("device", sorted(DEVICES.keys() - {"cpu"}))
def test_a_provider_that_is_not_built_in_is_named_with_its_remedy(device: str) -> None:
    report = report_device(choose_providers(device, {CPU}), [CPU])
    assert report.effective == "cpu"
    assert DEVICES[device].provider in str(report.fallback_reason)
    assert DEVICES[device].remedy in str(report.fallback_reason)


def test_a_provider_that_the_session_did_not_take_is_reported() -> None:
    report = report_device(choose_providers("cuda", EVERYTHING), [CPU])
    assert (report.asked, report.effective) == ("cuda", "cpu")
    assert "did not start" in str(report.fallback_reason)
    report = report_device(choose_providers("tensorrt", EVERYTHING), [CUDA, CPU])
    assert (report.effective, bool(report.fallback_reason)) == ("cuda", True)


def test_helpers_that_are_not_built_in_are_left_out() -> None:
    assert choose_providers("tensorrt", {TENSORRT, CPU}).providers == (TENSORRT, CPU)
