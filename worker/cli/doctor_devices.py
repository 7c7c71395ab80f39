"""Runs a tiny model on each device, and the default model on a picture, in a worker as a host has it."""

import asyncio
import base64
import ctypes
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import DEFAULT_MODEL, SCENES
from protocol.messages import Picture
from protocol.pixel_format import PixelFormat
from runtimes.litert_devices import DELEGATES
from worker.cli.checks import Check, State, absent, bad, good
from worker.cli.doctor_trials import TRIALS, Trial
from worker.cli.failures import CommandFailed
from worker.cli.hosting import hosted
from worker.cli.tiny_model import SIDE
from worker.client import Answer, WorkerClient, WorkerError

DEFAULT_RUNTIMES = ("onnxruntime", "openvino")
"""Those that read the default model, the first that is here for choice."""

_PATIENCE_S = 120.0
"""For all devices together: TensorRT builds an engine first."""

_WHITE = Picture(SIDE, SIDE, PixelFormat.RGB, memoryview(b"\xff" * (SIDE * SIDE * 3)))
_SUM = 3.0
"""What the tiny models answer for white."""

_EDGE_TPU = "edgetpu"
"""Runs what its own compiler has made alone, so no tiny model can be tried."""


async def devices(runtime: str, *, debug: bool) -> list[Check]:
    """Return a line for each device name of a runtime in `TRIALS`, by what really ran."""
    trial = TRIALS[runtime]
    try:
        checks = await _try_devices(trial, trial.devices, debug=debug)
    except (CommandFailed, TimeoutError):
        # A driver took the whole worker with it: each device gets a worker of its own.
        checks = [await _try_device(trial, name, debug=debug) for name in trial.devices]
    return [*checks, _edge_tpu()] if runtime == "litert" else checks


async def usable_devices(runtime: str, *, debug: bool) -> list[str]:
    """Return the device names of a runtime that a tiny model ran on; "" for the default where none tells."""
    if runtime not in TRIALS:
        return [""]
    checks = await devices(runtime, debug=debug)
    tried = TRIALS[runtime].devices
    return [check.name for check in checks if check.state is State.GOOD and check.name in tried] or [""]


async def default_model(runtime: str, *, debug: bool) -> Check:
    """Return whether the default model loads and answers."""
    config = {"protocol": 3, "runtime": runtime, "models": [{"path": str(DEFAULT_MODEL)}]}
    try:
        async with asyncio.timeout(_PATIENCE_S), hosted(config, debug=debug) as worker:
            return await _answer_of_default(worker)
    except (CommandFailed, TimeoutError, WorkerError, OSError) as error:
        return _default_failed(_told(error))


async def _answer_of_default(worker: WorkerClient) -> Check:
    slot = worker.ready["slots"][0]
    if not slot["loaded"]:
        return _default_failed(slot["error"])
    scene = min(SCENES.glob("*.jpg"))
    answer = await worker.infer_jpeg(scene.read_bytes())
    found = f"{len(answer['detections'])} objects in {scene.name} with {slot['runtime']}"
    text = f"{found}; start {worker.ready['startupMs']:.0f} ms, predict {answer['predictMs']:.0f} ms"
    return good(DEFAULT_MODEL.name, text, needed=True)


def _default_failed(why: str) -> Check:
    why, _, install = why.partition("; pip install ")
    then = f"pip install {install}" if install else "see the lines above; --debug shows the worker's log"
    return bad(DEFAULT_MODEL.name, why, then, needed=True)


async def _try_devices(trial: Trial, names: Sequence[str], *, debug: bool) -> list[Check]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / trial.file
        path.write_bytes(trial.content())
        config = _config(path, trial.runtime, names)
        async with asyncio.timeout(_PATIENCE_S), hosted(config, debug=debug) as worker:
            slots = worker.ready["slots"]
            return [await _check(worker, slot, name, trial) for slot, name in zip(slots, names, strict=True)]


async def _try_device(trial: Trial, name: str, *, debug: bool) -> Check:
    try:
        return (await _try_devices(trial, [name], debug=debug))[0]
    except (CommandFailed, TimeoutError) as error:
        return bad(name, f"took the worker down: {_told(error)}", trial.remedy_for(name))


def _config(path: Path, runtime: str, names: Sequence[str]) -> dict[str, Any]:
    model = {"path": str(path), "runtime": runtime, "postprocessor": "raw"}
    return {"protocol": 3, "runtime": runtime, "models": [{**model, "device": name} for name in names]}


async def _check(
    worker: WorkerClient, slot: Answer, name: str, trial: Trial = TRIALS["onnxruntime"]
) -> Check:
    if not slot["loaded"]:
        return bad(name, str(slot["error"]).partition("; pip install")[0], trial.remedy_for(name))
    if fallback := slot.get("deviceFallback"):
        return _fallen_back(name, fallback, trial)
    try:
        answer = await worker.infer_raw(_WHITE, slot["index"])
    except WorkerError as error:
        return bad(name, error.text, trial.remedy_for(name))
    if np.abs(_values(answer) - _SUM).max() > 0.01:
        return bad(name, "computes wrong numbers", trial.remedy_for(name))
    return good(name, f"a model ran on {slot['device']}")


def _fallen_back(name: str, reason: str, trial: Trial) -> Check:
    """A device that is not there is nothing bad; one that does not start is."""
    missing = trial.absence(name, reason)
    return (
        absent(name, missing, trial.step_for(name)) if missing else bad(name, reason, trial.remedy_for(name))
    )


def _edge_tpu() -> Check:
    device = DELEGATES[_EDGE_TPU]
    for library in device.libraries:
        try:
            ctypes.CDLL(library)
        except OSError:
            continue
        return good(_EDGE_TPU, f"{library} is here; it runs what edgetpu_compiler has made")
    return absent(_EDGE_TPU, f"{' or '.join(device.libraries)} is not here", device.remedy)


def _values(answer: Answer) -> np.ndarray[Any, Any]:
    (tensor,) = answer["tensors"].values()
    return np.frombuffer(base64.b64decode(tensor["data"]), tensor["dtype"]).astype(np.float32)


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {_PATIENCE_S:.0f} s"
    return error.why if isinstance(error, CommandFailed) else str(error)
