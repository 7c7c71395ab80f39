"""Whether what a model found is what its configuration expects."""

from collections.abc import Sequence

from msgspec import UNSET

from postprocessors.results import Detection, Detections, Result
from worker.config_verify import Expectation, VerifyConfig


def unmet(verify: VerifyConfig, result: Result) -> str | None:
    """Return what is missing in a result, for a person; None where everything expected is there.

    Each found object counts for one expectation alone: the one that it overlaps most.
    """
    if not verify.expect:
        return None
    if not isinstance(result, Detections):
        return "verify.expect needs a postprocessor that finds objects"
    left = list(result.detections)
    missing = []
    for wanted in verify.expect:
        found = max(
            (one for one in left if _matches(one, wanted, verify)),
            key=lambda one: overlap(one.bbox, wanted.bbox),
            default=None,
        )
        if found is None:
            missing.append(f"{wanted} ({_nearest(wanted, result.detections)})")
        else:
            left.remove(found)
    return f"not found: {'; '.join(missing)}" if missing else None


def overlap(left: Sequence[float], right: Sequence[float]) -> float:
    """Return the intersection over union of two boxes [x, y, width, height]; 0 where one has no area."""
    width = min(left[0] + left[2], right[0] + right[2]) - max(left[0], right[0])
    height = min(left[1] + left[3], right[1] + right[3]) - max(left[1], right[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (left[2] * left[3] + right[2] * right[3] - shared)


def _matches(found: Detection, wanted: Expectation, verify: VerifyConfig) -> bool:
    return (
        _is_same_class(found, wanted)
        and overlap(found.bbox, wanted.bbox) >= verify.iou
        and (wanted.score is None or abs(found.score - wanted.score) <= verify.score_tolerance)
    )


def _is_same_class(found: Detection, wanted: Expectation) -> bool:
    return wanted.class_id in (None, found.class_id) and wanted.class_name in (None, found.class_name)


def _nearest(wanted: Expectation, found: Sequence[Detection]) -> str:
    """Say what was found where something was expected."""
    nearest = max(found, key=lambda one: overlap(one.bbox, wanted.bbox), default=None)
    if nearest is None or not (iou := overlap(nearest.bbox, wanted.bbox)):
        return f"nothing there, {len(found)} objects in all"
    name = f"class {nearest.class_id}" if nearest.class_name is UNSET else nearest.class_name
    return f"nearest: {name}, IoU {iou:.2f}, score {nearest.score:.2f}"
