"""Device names, what is compiled for instead, and the library's properties."""

import pytest

from runtimes.openvino_devices import (
    DeviceChoice,
    choose_device,
    cpu_instead,
    properties,
    report_device,
    tune,
)
from runtimes.options import RuntimeOptions

LAPTOP = ("CPU", "GPU", "NPU")
TWO_GPUS = ("CPU", "GPU.0", "GPU.1")


@pytest.mark.parametrize(
    ("device", "available", "name"),
    [
        ("", ("CPU",), "AUTO"),
        ("  ", ("CPU",), "AUTO"),
        ("auto", ("CPU",), "AUTO"),
        ("cpu", ("CPU",), "CPU"),
        ("Gpu", LAPTOP, "GPU"),
        ("npu", LAPTOP, "NPU"),
        ("gpu", TWO_GPUS, "GPU"),
        ("gpu.1", TWO_GPUS, "GPU.1"),
        ("auto:gpu,cpu", LAPTOP, "AUTO:GPU,CPU"),
        ("AUTO: gpu , cpu", LAPTOP, "AUTO:GPU,CPU"),
        ("auto:cpu", LAPTOP, "CPU"),
        ("auto:-npu", LAPTOP, "AUTO:-NPU"),
        ("auto:-npu", ("CPU",), "AUTO"),
        ("multi:GPU.1,cpu", TWO_GPUS, "MULTI:GPU.1,CPU"),
        ("MULTI:GPU(4),CPU(8)", LAPTOP, "MULTI:GPU(4),CPU(8)"),
        ("hetero:gpu,cpu", LAPTOP, "HETERO:GPU,CPU"),
        ("guest", ("CPU", "GUEST"), "GUEST"),
    ],
)
def test_a_device_that_is_here_is_taken_in_any_case(
    device: str, available: tuple[str, ...], name: str
) -> None:
    choice = choose_device(device, available)
    assert (choice.asked, choice.name, choice.reason) == (device.strip() or "AUTO", name, None)


@pytest.mark.parametrize(
    ("device", "available", "name", "reason"),
    [
        ("gpu", ("CPU",), "AUTO", "finds no GPU here, only CPU"),
        ("NPU", ("CPU",), "AUTO", "finds no NPU here"),
        ("gpu.2", TWO_GPUS, "AUTO", "finds no GPU.2 here, only CPU, GPU.0, GPU.1"),
        ("cuda", LAPTOP, "AUTO", "unknown device 'cuda'"),
        ("ane", LAPTOP, "AUTO", "unknown device 'ane'"),
        ("cpu,gpu", LAPTOP, "AUTO", "unknown device 'cpu,gpu'"),
        ("multi:gpu,cpu", ("CPU",), "MULTI:CPU", "finds no GPU"),
        ("hetero:gpu", ("CPU",), "AUTO", "finds no GPU"),
        ("multi", LAPTOP, "AUTO", "names no device behind MULTI"),
        ("multi:", LAPTOP, "AUTO", "names no device behind MULTI"),
        ("auto:tpu,cpu", ("CPU",), "CPU", "unknown device 'TPU'"),
    ],
)
def test_what_is_not_here_is_replaced_with_the_reason(
    device: str, available: tuple[str, ...], name: str, reason: str
) -> None:
    choice = choose_device(device, available)
    assert (choice.asked, choice.name) == (device, name)
    assert reason in str(choice.reason)


def test_the_report_says_what_runs() -> None:
    assert report_device(DeviceChoice("AUTO", "AUTO"), ["CPU"]).effective == "cpu"
    assert report_device(DeviceChoice("AUTO", "AUTO"), ["(CPU)"]).effective == "cpu"
    assert (
        report_device(DeviceChoice("Multi:gpu,cpu", "MULTI:GPU,CPU"), ["GPU.0", "CPU"]).effective
        == "gpu.0,cpu"
    )
    report = report_device(cpu_instead(DeviceChoice("NPU", "AUTO", "no NPU"), "AUTO did not start"), ["CPU"])
    assert (report.asked, report.effective) == ("NPU", "cpu")
    assert report.fallback_reason == "no NPU; AUTO did not start"


@pytest.mark.parametrize(
    ("options", "cores", "hint", "threads", "streams"),
    [
        ({}, 8, "LATENCY", 8, 1),
        ({"lanes": 2}, 8, "THROUGHPUT", 8, 2),
        ({"lanes": 4}, 2, "THROUGHPUT", 2, 2),
        ({"lanes": 4, "intra_threads": 1}, 2, "THROUGHPUT", 4, 4),
        ({"lanes": 2, "intra_threads": 3}, 8, "THROUGHPUT", 6, 2),
        ({"intra_threads": 3}, 8, "LATENCY", 3, 1),
        ({"hint": "throughput"}, 8, "THROUGHPUT", 8, None),
        ({"lanes": 2, "hint": "latency"}, 8, "LATENCY", 8, 2),
        ({"lanes": 2, "streams": 6}, 8, "THROUGHPUT", 8, 6),
        ({"lanes": 0}, 4, "LATENCY", 4, 1),
    ],
)
def test_the_cores_are_shared_among_lanes(
    options: dict[str, object], cores: int, hint: str, threads: int, streams: int | None
) -> None:
    tuning = tune(RuntimeOptions(**options), cores)
    assert (tuning.hint, tuning.threads, tuning.streams) == (hint, threads, streams)


def test_a_device_of_its_own_gets_its_properties_directly() -> None:
    tuning = tune(RuntimeOptions(lanes=2, cache_dir="/cache"), 4)
    assert properties(DeviceChoice("cpu", "CPU"), tuning, ("CPU",)) == {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "CACHE_DIR": "/cache",
        "INFERENCE_NUM_THREADS": 4,
        "NUM_STREAMS": 2,
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    assert properties(DeviceChoice("npu", "NPU"), tuning, LAPTOP) == {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "CACHE_DIR": "/cache",
    }


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("AUTO", {"CPU", "GPU"}),
        ("AUTO:GPU.0,CPU", {"CPU", "GPU"}),
        ("AUTO:-GPU", {"CPU"}),
        ("MULTI:CPU(2)", {"CPU"}),
        ("HETERO:NPU,CPU", {"CPU"}),
    ],
)
def test_devices_behind_a_virtual_one_get_theirs_each(name: str, members: set[str]) -> None:
    found = properties(DeviceChoice(name, name), tune(RuntimeOptions(half=False), 4), LAPTOP)
    assert found["DEVICE_PROPERTIES"].keys() == members
    assert all(values["INFERENCE_PRECISION_HINT"] == "f32" for values in found["DEVICE_PROPERTIES"].values())
    assert ("ENABLE_STARTUP_FALLBACK" in found) == name.startswith("AUTO")


@pytest.mark.parametrize(
    ("half", "on_cpu", "on_gpu"), [(None, "f32", None), (False, "f32", "f32"), (True, None, "f16")]
)
def test_half_precision_is_for_gpus_unless_asked_for(
    half: bool | None, on_cpu: str | None, on_gpu: str | None
) -> None:
    tuning = tune(RuntimeOptions(half=half), 4)
    for name, hint in (("CPU", on_cpu), ("GPU.1", on_gpu)):
        found = properties(DeviceChoice(name, name), tuning, TWO_GPUS)
        assert found.get("INFERENCE_PRECISION_HINT") == hint
