"""Runs a tiny model on each device, and the default model on a picture, in a worker as a host has it."""

import asyncio
import base64
import platform
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models import DEFAULT_MODEL, SCENES
from protocol.messages import Picture
from protocol.pixel_format import PixelFormat
from runtimes.onnx_devices import DEFAULT_DEVICE, DEVICES
from worker.cli.checks import Check, absent, bad, good
from worker.cli.failures import CommandFailed
from worker.cli.hosting import hosted
from worker.cli.tiny_model import SIDE, tiny_model
from worker.client import Answer, WorkerClient, WorkerError

RUNTIME = "onnxruntime"

_PATIENCE_S = 120.0
"""For all devices together: TensorRT builds an engine first."""

_WHITE = Picture(SIDE, SIDE, PixelFormat.RGB, memoryview(b"\xff" * (SIDE * SIDE * 3)))
_SUM = 3.0
"""What the tiny model answers for white."""


async def devices(*, debug: bool) -> list[Check]:
    """Return a line for each device name, by what really ran."""
    names = list(DEVICES)
    try:
        return await _try_devices(names, debug=debug)
    except (CommandFailed, TimeoutError):
        # A driver took the whole worker with it: each device gets a worker of its own.
        return [await _try_device(name, debug=debug) for name in names]


async def default_model(*, debug: bool) -> Check:
    """Return whether the default model loads and answers."""
    config = {"protocol": 3, "runtime": RUNTIME, "models": [{"path": str(DEFAULT_MODEL)}]}
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
    found = f"{len(answer['detections'])} objects in {scene.name}"
    text = f"{found}; start {worker.ready['startupMs']:.0f} ms, predict {answer['predictMs']:.0f} ms"
    return good(DEFAULT_MODEL.name, text, needed=True)


def _default_failed(why: str) -> Check:
    why, _, install = why.partition("; pip install ")
    then = f"pip install {install}" if install else "see the lines above; --debug shows the worker's log"
    return bad(DEFAULT_MODEL.name, why, then, needed=True)


async def _try_devices(names: Sequence[str], *, debug: bool) -> list[Check]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        path.write_bytes(tiny_model())
        async with asyncio.timeout(_PATIENCE_S), hosted(_config(path, names), debug=debug) as worker:
            slots = worker.ready["slots"]
            return [await _check(worker, slot, name) for slot, name in zip(slots, names, strict=True)]


async def _try_device(name: str, *, debug: bool) -> Check:
    try:
        return (await _try_devices([name], debug=debug))[0]
    except (CommandFailed, TimeoutError) as error:
        return _failed(name, f"took the worker down: {_told(error)}")


def _config(path: Path, names: Sequence[str]) -> dict[str, Any]:
    model = {"path": str(path), "runtime": RUNTIME, "postprocessor": "raw"}
    return {"protocol": 3, "runtime": RUNTIME, "models": [{**model, "device": name} for name in names]}


async def _check(worker: WorkerClient, slot: Answer, name: str) -> Check:
    if not slot["loaded"]:
        return _failed(name, str(slot["error"]).partition("; pip install")[0])
    if fallback := slot.get("deviceFallback"):
        return _fallen_back(name, fallback)
    try:
        answer = await worker.infer_raw(_WHITE, slot["index"])
    except WorkerError as error:
        return _failed(name, error.text)
    if any(abs(value - _SUM) > 0.01 for value in _values(answer)):
        return _failed(name, "computes wrong numbers")
    return good(name, f"a model ran on {slot['device']}", needed=name == DEFAULT_DEVICE)


def _fallen_back(name: str, reason: str) -> Check:
    """A device that the library was not built for is nothing bad; one that does not start is."""
    remedy = DEVICES[name].remedy
    if reason.endswith(remedy):
        return absent(name, f"the installed {RUNTIME} has no {DEVICES[name].provider}", _installs(name))
    return _failed(name, reason)


def _failed(name: str, why: str) -> Check:
    return bad(name, why, _REMEDIES.get(name, _installs(name)), needed=name == DEFAULT_DEVICE)


def _installs(name: str) -> str:
    """Return the commands that bring a device; the adapter's own words where this table has none."""
    system, commands = _INSTALLS.get(name, ("", DEVICES[name].remedy))
    here = platform.system().replace("macOS", "macOS")
    return commands if here in system or not system else f"on {system} alone"


_GPU = "pip uninstall onnxruntime; pip install 'onnxruntime-gpu[cuda,cudnn]'"

_INSTALLS: Mapping[str, tuple[str, str]] = {
    "cpu": ("", "pip install --force-reinstall onnxruntime"),
    "cuda": ("Linux and Windows", _GPU),
    "tensorrt": ("Linux and Windows", f"{_GPU}; pip install tensorrt"),
    "coreml": ("macOS", "pip install --force-reinstall onnxruntime"),
    "openvino": ("Linux and Windows", "pip uninstall onnxruntime; pip install onnxruntime-openvino"),
    "directml": ("Windows", "pip uninstall onnxruntime; pip install onnxruntime-directml"),
}
"""Device → the systems that it is for, "" for all, and the commands."""

_REMEDIES: Mapping[str, str] = {
    "cuda": "nvidia-smi shows whether the driver works; pip install 'onnxruntime-gpu[cuda,cudnn]'",
    "tensorrt": "pip install tensorrt",
}
"""What to do where the library has a device and it does not start."""


def _values(answer: Answer) -> tuple[float, ...]:
    (tensor,) = answer["tensors"].values()
    data = base64.b64decode(tensor["data"])
    return struct.unpack(f"<{len(data) // 4}f", data)


def _told(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer for {_PATIENCE_S:.0f} s"
    return error.why if isinstance(error, CommandFailed) else str(error)
