"""Models come and go for months: what a runtime took it gives back."""

import gc
from pathlib import Path

import pytest
from contract.samples import SAMPLES

from model_files import ModelRef, resolve
from runtimes import RUNTIMES, get_runtime
from runtimes.errors import RuntimeUnavailableError
from runtimes.options import RuntimeOptions
from worker.process_figures import process_figures

LOADS = 200
SETTLED = 60
"""Loads after which the libraries' own pools have grown to their size."""

ALLOWED_BYTES = 24 << 20
"""140 loads may leave this much: a model that stays, with its session, would be several times that."""


def resident_bytes() -> int:
    resident = process_figures().resident_bytes
    if resident is None:
        pytest.skip("the system does not tell the resident memory")
    return resident


@pytest.mark.parametrize("name", sorted(RUNTIMES))
def test_two_hundred_loads_leave_nothing_behind(name: str, tmp_path: Path) -> None:
    try:
        runtime = get_runtime(name)
    except RuntimeUnavailableError as exc:
        pytest.skip(str(exc))
    reference = SAMPLES[name].single(tmp_path)
    settled = 0
    for load in range(LOADS):
        model = runtime.compile(resolve(ModelRef(reference)), RuntimeOptions())
        model.open_lane()
        model.close()
        if load == SETTLED:
            gc.collect()
            settled = resident_bytes()
    gc.collect()
    assert resident_bytes() - settled < ALLOWED_BYTES
