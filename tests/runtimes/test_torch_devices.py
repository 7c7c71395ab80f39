"""Which PyTorch device a name asks for: a table, as no CUDA device is needed to read a name."""

import pytest

from runtimes.torch_devices import Accelerators, choose_device, cpu_instead, report_device

NOTHING = Accelerators()
NO_DRIVER = Accelerators(cuda_built=True)
TWO_GPUS = Accelerators(cuda_built=True, cuda_devices=2)
APPLE = Accelerators(mps=True)

# as configured, what there is, asked, in effect, a part of the reason
CASES = [
    ("", NOTHING, "cpu", "cpu", None),
    ("  ", TWO_GPUS, "cpu", "cpu", None),
    ("CPU", TWO_GPUS, "CPU", "cpu", None),
    ("cuda", TWO_GPUS, "cuda", "cuda", None),
    ("CUDA:1", TWO_GPUS, "CUDA:1", "cuda:1", None),
    ("cuda:2", TWO_GPUS, "cuda:2", "cpu", "no CUDA device 2: this machine has 2"),
    ("cuda", NO_DRIVER, "cuda", "cpu", "no CUDA device was found"),
    ("cuda:0", NOTHING, "cuda:0", "cpu", "built without CUDA"),
    ("mps", APPLE, "mps", "mps", None),
    ("MPS", TWO_GPUS, "MPS", "cpu", "no Metal device"),
    ("cuda:", TWO_GPUS, "cuda:", "cpu", "unknown device 'cuda:'"),
    ("cuda:99999", TWO_GPUS, "cuda:99999", "cpu", "unknown device"),
    ("npu", TWO_GPUS, "npu", "cpu", "expected one of cpu, cuda"),
]


@pytest.mark.parametrize(("device", "found", "asked", "effective", "reason"), CASES)
def test_names(device: str, found: Accelerators, asked: str, effective: str, reason: str | None) -> None:
    report = report_device(choose_device(device, found))
    assert (report.asked, report.effective) == (asked, effective)
    assert (reason is None) == (report.fallback_reason is None)
    assert (reason or "") in (report.fallback_reason or "")


def test_only_cuda_gets_pinned_memory_and_streams() -> None:
    assert choose_device("cuda:1", TWO_GPUS).on_cuda
    assert not choose_device("mps", APPLE).on_cuda
    assert not choose_device("cuda", NOTHING).on_cuda


def test_remarks_stand_beside_the_reason() -> None:
    choice = cpu_instead("npu", "unknown device 'npu'")
    assert report_device(choice, "runs in 32 bits").fallback_reason == "unknown device 'npu'; runs in 32 bits"
    assert report_device(choose_device("cpu", NOTHING), "").fallback_reason is None
