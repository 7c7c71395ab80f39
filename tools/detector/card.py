"""Writes the model's card from what was measured; no figure in it is typed by hand."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from tools.detector.data import LONGER_SIDE, Phase
from tools.detector.demo import DEMO_SEED, DEMO_SIZES
from tools.detector.evaluate import EVALUATION_SEEDS, Evaluation, evaluate, latency_ms, report
from tools.scenes import CLASS_NAMES, LARGEST_SHARE, SMALLEST_PX, SMALLEST_SHARE


@dataclass(frozen=True, slots=True)
class Cost:
    """What rendering the scenes and training took."""

    wall_s: float
    cpu_s: float
    """Of the training process with all of its threads, and of the rendering processes."""


_TEMPLATE = Path(__file__).parent / "card.template.md"


def machine() -> str:
    """The processor's name."""
    source = Path("/proc/cpuinfo")
    lines = source.read_text().splitlines() if source.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _phrase(phase: Phase) -> str:
    low, high = phase.zoom
    return f"{phase.steps} steps of {phase.batch} windows of {phase.size} pixels at zoom {low} to {high}"


def _weights(model: Path) -> int:
    """Numbers in the file that were learned: all but the cells' places."""
    tensors = [t for t in onnx.load(model).graph.initializer if t.name not in ("centres", "strides")]
    return sum(int(onnx.numpy_helper.to_array(tensor).size) for tensor in tensors)


def _figures(result: Evaluation) -> dict[str, object]:
    return {
        "scenes": result.scenes,
        "objects": result.objects,
        "map50": result.map50,
        "map": result.map50_95,
        "table": report(result),
    }


def _facts(model: Path) -> dict[str, object]:
    return {
        "count": len(CLASS_NAMES),
        "rows": 4 + len(CLASS_NAMES),
        "names": ", ".join(CLASS_NAMES),
        "size": model.stat().st_size,
        "parameters": _weights(model),
        "opset": onnx.load(model).opset_import[0].version,
        "latency": latency_ms(model),
        "machine": machine(),
        "first": EVALUATION_SEEDS[0],
        "last": EVALUATION_SEEDS[-1],
        "smallest": SMALLEST_PX,
        "smallest_share": SMALLEST_SHARE,
        "largest": LARGEST_SHARE,
        "longer": LONGER_SIDE,
        "demos": len(DEMO_SIZES),
        "demo_seed": DEMO_SEED,
    }


def write_card(path: Path, model: Path, cost: Cost, phases: Sequence[Phase], pool: range) -> Evaluation:
    """Evaluates the exported model and writes its card."""
    result = evaluate(model)
    training: dict[str, object] = {
        "pool": len(pool),
        "pool_first": pool[0],
        "pool_last": pool[-1],
        "phases": "\n".join(f"- {_phrase(phase)}" for phase in phases),
        "wall": cost.wall_s / 60,
        "cpu": cost.cpu_s / 60,
        "half": cost.cpu_s / 120,
    }
    path.write_text(_TEMPLATE.read_text().format(**_facts(model), **_figures(result), **training))
    return result
