"""What a slot says of itself on the wire."""

from collections.abc import Sequence
from typing import Any

from model_files.names import shown
from runtimes.spec import TensorSpec
from worker.loading import LoadedModel


def slot_fields(
    index: int, loaded: LoadedModel | None, path: str | None, runtime: str | None, error: str | None
) -> dict[str, Any]:
    """Return a slot's object: what is in it, or what was tried and why there is nothing.

    Args:
        index: of the slot.
        loaded: what serves.
        path: the model's, also of one that failed; what may be secret in it is not told.
        runtime: what it was tried with.
        error: why it failed.
    """
    shown_path = shown(path) if path is not None else None
    head = {
        "index": index,
        "path": shown_path,
        "loaded": loaded is not None,
        "error": error,
        "runtime": runtime,
    }
    return head | (_loaded_fields(loaded) if loaded else {"postprocessor": None})


def _loaded_fields(loaded: LoadedModel) -> dict[str, Any]:
    plan = loaded.pipeline.plan
    device = plan.compiled.device
    fallback = {"deviceFallback": device.fallback_reason} if device.fallback_reason else {}
    return {
        "device": device.effective,
        **fallback,
        "inputs": _tensors(plan.compiled.inputs),
        "outputs": _tensors(plan.compiled.outputs),
        "labels": list(plan.postprocessor.labels),
        "postprocessor": plan.postprocessor.name,
        "family": plan.postprocessor.family,
        "familyReason": plan.postprocessor.family_reason,
        "maxBatchSize": plan.compiled.max_batch_size,
        "loadMs": round(loaded.load_ms, 2),
        "warmupMs": round(loaded.warmup_ms, 2),
        "memoryBytes": loaded.memory_bytes,
    }


def _tensors(specs: Sequence[TensorSpec]) -> list[dict[str, Any]]:
    return [{"name": spec.name, "shape": list(spec.shape), "dtype": spec.dtype} for spec in specs]
