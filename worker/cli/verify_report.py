"""What `verify` tells: what a model is, a table of its runs, how far they agree, and all of it as JSON."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from worker.cli.checks import MARKS, State
from worker.cli.table import table
from worker.cli.terminal import Palette, columns, shortened, wrapped
from worker.cli.verify_compare import Agreement, Limits, found
from worker.cli.verify_kinds import Refusal
from worker.cli.verify_runs import Examined, Run
from worker.client import Answer

_HEAD_COLUMNS = 10
_SHOWN_LABELS = 8
_SHOWN_TENSORS = 4
_ABSENT = "–"  # noqa: RUF001 - a dash it is


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, and how far they agree."""

    first: str
    """Names of the runs."""
    second: str
    agreement: Agreement


def short_names(models: Sequence[Examined]) -> list[str]:
    """Return what tells the files apart: names without what they begin and end with in common."""
    names = [model.name for model in models]
    start = os.path.commonprefix(names)  # noqa: RUF071 - cut at a separator
    begin = max(start.rfind(mark) for mark in "_-.") + 1
    end = os.path.commonprefix([name[:begin:-1] for name in names])  # noqa: RUF071 - as above
    ends = len(end) - min((end[::-1].find(mark) for mark in "_-." if mark in end), default=len(end))
    short = [name[begin : len(name) - ends] for name in names]
    return short if len(names) > 1 and all(short) else names


def run_name(model: str, run: Run) -> str:
    """Return how a run is called: "openvino on cpu", and of which file, "" where there is one."""
    return f"{model}, {run.way}" if model else str(run.way)


def description_text(examined: Examined, palette: Palette) -> str:
    """Return what a model is, and which ways to run it are not here."""
    title = "  ".join(filter(None, (examined.kind.text, examined.size)))
    lines = [f"{palette.bold(shortened(examined.name, columns() - len(title) - 2))}  {title}"]
    lines += [_titled(name, text) for name, text in _facts(examined) if text]
    lines += [_refusal_text(refusal, palette) for refusal in examined.refusals]
    return "\n".join(lines)


def runs_table(models: Sequence[Examined], confidence: float) -> str:
    """Return a row for each run: what loaded it, how quick it is, and what it found."""
    several = len(models) > 1
    head = ("model",) * several + ("runtime", "device", "load ms", "predict ms", "p50 ms", "found")
    names = [(name,) if several else () for name in short_names(models)]
    rows = [
        (*name, *_run_cells(run, confidence))
        for name, one in zip(names, models, strict=True)
        for run in one.runs
    ]
    return table(head, rows, width=columns(), words=(0, 1, *((2,) if several else ()), len(head) - 1))


def comparisons_table(comparisons: Sequence[Comparison]) -> str:
    """Return a row for each comparison with the same run: figures, and the verdict."""
    boxes = any(one.agreement.matched is not None for one in comparisons)
    columns_of = _BOX_COLUMNS if boxes else _TENSOR_COLUMNS
    head = ("run", *columns_of, "")
    rows = [(one.second, *_figures(one.agreement, boxes), _verdict(one.agreement)) for one in comparisons]
    by = wrapped(f"measured by {comparisons[0].first}:", 0)
    return by + "\n" + table(head, rows, width=columns(), words=(0, len(head) - 1))


def verdict_lines(comparisons: Sequence[Comparison], palette: Palette) -> list[str]:
    """Return a line for each problem."""
    mark = palette.bad(MARKS[State.BAD])
    return [
        mark + wrapped(f"{one.second}: {problem}", 2)[1:]
        for one in comparisons
        for problem in one.agreement.problems
    ]


def as_fields(examined: Examined, confidence: float) -> dict[str, Any]:
    """Return a model and its runs for JSON."""
    slot = examined.slot
    return {
        "path": examined.model,
        "kind": examined.kind.text,
        **examined.description,
        "postprocessor": slot.get("postprocessor"),
        "family": slot.get("family"),
        "familyReason": slot.get("familyReason") or examined.doubt or None,
        "runs": [_run_fields(run, confidence) for run in examined.runs],
        "refused": [_refusal_fields(refusal) for refusal in examined.refusals],
    }


def comparison_fields(one: Comparison, limits: Limits) -> dict[str, Any]:
    """Return a comparison for JSON."""
    figures = {_JSON[name]: value for name, value in asdict(one.agreement).items() if value is not None}
    return {
        "reference": one.first,
        "compared": one.second,
        "agrees": one.agreement.agrees,
        **figures,
        "limits": {"iou": limits.iou, "score": limits.score, "difference": limits.difference},
    }


_JSON = {
    "problems": "problems",
    "objects": "objects",
    "matched": "matched",
    "iou_min": "iouMin",
    "iou_mean": "iouMean",
    "score_max": "scoreDifferenceMax",
    "score_mean": "scoreDifferenceMean",
    "tensors": "tensors",
    "absolute": "maxAbsoluteDifference",
    "relative": "maxRelativeDifference",
}
"""Field of `Agreement` → its name in JSON."""

_BOX_COLUMNS = ("matched", "IoU min", "mean", "score max", "mean")
_TENSOR_COLUMNS = ("tensors", "max abs", "max rel")


def _facts(examined: Examined) -> Iterable[tuple[str, str]]:
    """Yield what there is to tell of a model, each with its name."""
    description = examined.description
    slot = examined.slot
    labels = slot.get("labels") or description["labels"]
    yield "inputs", _tensors(description["inputs"])
    yield "outputs", _tensors(description["outputs"])
    detects = any("detections" in run.answer for run in examined.runs)
    yield "task", description["task"] or ("detect, by its outputs" if detects else "")
    yield "family", _family(slot, examined.doubt)
    yield "labels", _labels(labels)


def _family(slot: Answer, doubt: str) -> str:
    if family := slot.get("family"):
        return f"{family}: {slot.get('familyReason') or 'as it was asked for'}"
    if not slot:
        return ""
    return f'none: postprocessor "{slot["postprocessor"]}"' + (
        f", as yolo refuses it: {doubt}" if doubt else ""
    )


def _tensors(tensors: Sequence[Answer]) -> str:
    named = [
        " ".join(
            filter(None, (one["name"], _shape(one["shape"]), one["dtype"] + ("," if "layout" in one else "")))
        )
        + (f" {one['layout']}" if "layout" in one else "")
        for one in tensors[:_SHOWN_TENSORS]
    ]
    more = f" and {len(tensors) - _SHOWN_TENSORS} more" if len(tensors) > _SHOWN_TENSORS else ""
    return "; ".join(named) + more


def _shape(sizes: Sequence[int]) -> str:
    return f"[{', '.join('?' if size < 0 else str(size) for size in sizes)}]"


def _labels(labels: Sequence[str]) -> str:
    if not labels:
        return "none in the file"
    return f"{len(labels)}: {', '.join(labels[:_SHOWN_LABELS])}{' …' if len(labels) > _SHOWN_LABELS else ''}"


def _titled(name: str, text: str) -> str:
    return name.ljust(_HEAD_COLUMNS) + wrapped(text, _HEAD_COLUMNS)[_HEAD_COLUMNS:]


def _refusal_text(refusal: Refusal, palette: Palette) -> str:
    state = State.BAD if refusal.wanted else State.ABSENT
    mark = (palette.bad if refusal.wanted else palette.dim)(MARKS[state])
    lines = [mark + wrapped(f"{refusal.way}: {refusal.why}", 2)[1:]]
    lines += [wrapped(f"→ {refusal.then}", 4)] if refusal.then else []
    return "\n".join(lines)


def _run_cells(run: Run, confidence: float) -> tuple[str, ...]:
    times = (f"{run.slot['loadMs']:.0f}", f"{run.predict_ms:.1f}", f"{run.p50_ms:.1f}")
    return (run.way.runtime, run.way.device, *times, _found_text(run, confidence))


def _found_text(run: Run, confidence: float) -> str:
    if "tensors" in run.answer:
        shapes = {name: _shape(tensor["shape"]) for name, tensor in run.answer["tensors"].items()}
        return ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    boxes = found(run.answer, confidence)
    return "1 object" if len(boxes) == 1 else f"{len(boxes)} objects"


def _figures(agreement: Agreement, boxes: bool) -> tuple[str, ...]:
    if not boxes:
        tensors = _ABSENT if agreement.tensors is None else str(agreement.tensors)
        return tensors, _shown(agreement.absolute, "{:.3g}"), _shown(agreement.relative, "{:.3g}")
    return (
        _ABSENT if agreement.matched is None else str(agreement.matched),
        _shown(agreement.iou_min),
        _shown(agreement.iou_mean),
        _shown(agreement.score_max),
        _shown(agreement.score_mean),
    )


def _shown(value: float | None, form: str = "{:.3f}") -> str:
    return _ABSENT if value is None else form.format(value)


def _verdict(agreement: Agreement) -> str:
    return f"{MARKS[State.GOOD]} agrees" if agreement.agrees else f"{MARKS[State.BAD]} differs"


def _run_fields(run: Run, confidence: float) -> dict[str, Any]:
    answer = run.answer
    result: dict[str, Any] = {"detections": found(answer, confidence)} if "detections" in answer else {}
    if "tensors" in answer:
        result["tensors"] = {
            name: {"shape": tensor["shape"], "dtype": tensor["dtype"]}
            for name, tensor in answer["tensors"].items()
        }
    return {
        "runtime": run.way.runtime,
        "device": run.way.device,
        **({"deviceFallback": run.fallback} if run.fallback else {}),
        "maxBatchSize": run.slot["maxBatchSize"],
        "loadMs": run.slot["loadMs"],
        "predictP50Ms": round(run.predict_ms, 3),
        "p50Ms": round(run.p50_ms, 3),
        "frameSize": answer["frameSize"],
        **result,
    }


def _refusal_fields(refusal: Refusal) -> dict[str, Any]:
    then = {"next": refusal.then} if refusal.then else {}
    device = {"device": refusal.way.device} if refusal.way.device else {}
    return {"runtime": refusal.way.runtime, **device, "reason": refusal.why, **then, "wanted": refusal.wanted}
