"""A host in Python with `worker.client`: several pictures in flight, a line for each detection."""

import argparse
import asyncio
import sys
from pathlib import Path

from worker.client import HandshakeRefused, WorkerClient, WorkerError, WorkerGone

IN_FLIGHT = 8
"""Pictures that are read, sent or waited for at once; without a bound all of them would be in memory."""


async def detect(worker: WorkerClient, path: str, turn: asyncio.Semaphore) -> bool:
    """Print what is on one picture, and return whether that is known."""
    async with turn:
        try:
            answer = await worker.infer_jpeg(await asyncio.to_thread(Path(path).read_bytes))
        except WorkerError as error:  # this request failed: `code` is for a program, `text` for a person
            return failed(path, f"{error.code}: {error.text}")
        except WorkerGone as error:  # every request fails from here on: time for another worker
            return failed(path, str(error))
        except OSError as error:
            return failed(path, error.strerror or str(error))
    for found in answer["detections"]:
        label = found.get("className", found["classId"])
        box = ", ".join(f"{number:.2f}" for number in found["bbox"])
        print(f"{path}: {label} {found['score']:.4f} [{box}]")
    return True


def failed(name: str, why: str) -> bool:
    """Say what went wrong, and return False."""
    print(f"{name}: {why}", file=sys.stderr)
    return False


async def run(model: str, pictures: list[str]) -> bool:
    """Show the pictures to a worker, and return whether all went well."""
    config = {"protocol": 3, "runtime": "auto", "models": [{"path": model}]}
    try:
        client = await WorkerClient.spawn(config)
    except HandshakeRefused as error:
        return failed(model, str(error))
    async with client as worker:  # at its end the worker answers what is in flight, and ends
        slot = worker.ready["slots"][0]
        if not slot["loaded"]:
            return failed(model, slot["error"])
        turn = asyncio.Semaphore(IN_FLIGHT)
        return all(await asyncio.gather(*(detect(worker, path, turn) for path in pictures)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+", metavar="picture")
    arguments = parser.parse_args()
    sys.exit(0 if asyncio.run(run(arguments.model, arguments.pictures)) else 1)
