"""What a model file says of itself. Read in a process of its own: a broken file may take its library down.

python -m worker.cli.verify_describe RUNTIME MODEL
"""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from model_files import resolve
from model_files.base import ModelRef
from model_files.errors import ModelFileError
from runtimes import get_runtime
from runtimes.errors import RuntimeAdapterError
from runtimes.options import RuntimeOptions
from runtimes.spec import ModelDescription, TensorSpec
from worker.client import Answer

SPECIFICATIONS = {"coreml": "runtimes.coreml:describe"}
"""Runtimes whose files can be read where they cannot run → "module:function" that does it."""

_SHOWN_CHARACTERS = 200
"""Of a property: some files hold whole label maps in one."""


class NotDescribedError(Exception):
    """A model cannot be read; the text is one line for a person."""


async def describe(runtime: str, model: str) -> Answer:
    """Return a model's inputs, outputs, task, labels and what else its file says.

    Raises:
        NotDescribedError: it cannot be read with this runtime.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        runtime,
        model,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    lines = output.splitlines()  # a native library may have printed before
    if process.returncode or not lines:
        raise NotDescribedError(
            f"runtime {runtime} ended while it read the file (exit status {process.returncode})"
        )
    answer: Answer = json.loads(lines[-1])
    if "error" in answer:
        raise NotDescribedError(answer["error"])
    return answer


def main(words: Sequence[str]) -> None:
    """Print one JSON object: the description, or an `error`."""
    runtime, model = words
    try:
        answer = _fields(_describe(runtime, model))
    except (RuntimeAdapterError, ModelFileError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


def _describe(runtime: str, model: str) -> ModelDescription:
    files = resolve(ModelRef(model))
    if runtime in SPECIFICATIONS:
        module, _, name = SPECIFICATIONS[runtime].partition(":")
        read: Callable[[Path], ModelDescription] = getattr(import_module(module), name)
        return read(files.path)
    compiled = get_runtime(runtime).compile(files, RuntimeOptions(device="cpu"))
    try:
        return ModelDescription(compiled.inputs, compiled.outputs, compiled.metadata)
    finally:
        compiled.close()


def _fields(description: ModelDescription) -> Answer:
    metadata = description.metadata
    texts = {key: text for key, text in metadata.properties.items() if len(text) <= _SHOWN_CHARACTERS}
    return {
        "inputs": list(map(_tensor, description.inputs)),
        "outputs": list(map(_tensor, description.outputs)),
        "task": metadata.task,
        "stride": metadata.stride,
        "imageSize": metadata.image_size,
        "labels": list(metadata.labels),
        "properties": texts,
    }


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    layout = {"layout": spec.layout.value} if spec.layout else {}
    return {"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype, "kind": spec.kind, **layout}


if __name__ == "__main__":
    main(sys.argv[1:])
