"""Non-maximum suppression: a table, and what must hold for any boxes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_yolo import ReferenceBox, overlap
from reference_yolo import suppress as plain_suppress

from postprocessors import nms

A, A_SHIFTED, FAR = (0, 0, 10, 10), (2, 0, 12, 10), (50, 50, 60, 60)  # overlap of A and A_SHIFTED: 2/3


@pytest.mark.parametrize(
    ("case", "boxes", "scores", "classes", "iou", "limit", "kept"),
    [
        ("none", [], [], [], 0.5, 10, []),
        ("one", [A], [0.5], [0], 0.5, 10, [0]),
        ("best first", [A, FAR], [0.5, 0.9], [0, 0], 0.5, 10, [1, 0]),
        ("weaker goes", [A, A_SHIFTED, FAR], [0.5, 0.9, 0.1], [0, 0, 0], 0.5, 10, [1, 2]),
        ("other class stays", [A, A_SHIFTED], [0.5, 0.9], [0, 1], 0.5, 10, [1, 0]),
        ("agnostic", [A, A_SHIFTED], [0.5, 0.9], None, 0.5, 10, [1]),
        ("below the limit stays", [A, A_SHIFTED], [0.9, 0.5], [0, 0], 0.7, 10, [0, 1]),
        ("equal boxes, iou 1", [A, A], [0.9, 0.5], [0, 0], 1.0, 10, [0, 1]),
        ("any overlap, iou 0", [A, (9, 9, 20, 20), FAR], [0.9, 0.5, 0.2], [0, 0, 0], 0.0, 10, [0, 2]),
        ("touching, iou 0", [A, (10, 0, 20, 10)], [0.9, 0.5], [0, 0], 0.0, 10, [0, 1]),
        ("limit", [A, FAR], [0.5, 0.9], [0, 0], 0.5, 1, [1]),
        ("limit 0", [A, FAR], [0.5, 0.9], [0, 0], 0.5, 0, []),
        ("ties in their order", [FAR, A], [0.5, 0.5], [0, 0], 0.5, 10, [0, 1]),
        ("a point hurts nobody", [A, (5, 5, 5, 5)], [0.5, 0.9], [0, 0], 0.0, 10, [1, 0]),
        ("inside out hurts nobody", [A, (9, 9, 1, 1)], [0.5, 0.9], [0, 0], 0.1, 10, [1, 0]),
        # The middle one falls to the first, so the last, which only it overlaps, stays.
        ("chain", [A, (6, 0, 16, 10), (12, 0, 22, 10)], [0.9, 0.8, 0.7], [0, 0, 0], 0.2, 10, [0, 2]),
    ],
)
def test_suppress(case, boxes, scores, classes, iou, limit, kept):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    ids = None if classes is None else np.array(classes, np.intp)
    assert nms.suppress(array, np.array(scores, np.float32), ids, iou, limit).tolist() == kept, case


@pytest.mark.parametrize(("limit", "expected"), [(10, [2, 0, 3, 1]), (2, [2, 0]), (0, [])])
def test_best_first(limit, expected):
    assert nms.best_first(np.array([0.5, 0.1, 0.9, 0.5], np.float32), limit).tolist() == expected


def crowd(seed, count, classes):
    """Boxes that overlap a lot, more than one block of them."""
    random = np.random.default_rng(seed)
    centres, sides = random.uniform(0, 200, (count, 2)), random.uniform(5, 80, (count, 2))
    boxes = np.concatenate((centres - sides / 2, centres + sides / 2), axis=1).astype(np.float32)
    return boxes, random.permutation(count).astype(np.float32) / count, random.integers(0, classes, count)


def as_reference(boxes, scores, ids):
    rows = zip(boxes.tolist(), scores.tolist(), ids.tolist(), strict=True)
    return [ReferenceBox(*box, score, class_id) for box, score, class_id in rows]


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize(("count", "classes"), [(40, 3), (700, 1), (700, 5)])
def test_equals_the_plain_double_loop(count, classes, agnostic):
    boxes, scores, ids = crowd(count + classes, count, classes)
    kept = nms.suppress(boxes, scores, None if agnostic else ids, 0.45, count)
    plain = plain_suppress(as_reference(boxes, scores, ids), 0.45, agnostic)
    assert scores[kept].tolist() == [box.score for box in plain]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 400), st.integers(1, 4), st.floats(0, 1), st.integers(0, 400))
def test_invariants(seed, count, classes, iou, limit):
    boxes, scores, ids = crowd(seed, count, classes)
    kept = nms.suppress(boxes, scores, ids, iou, limit)
    assert len(kept) <= limit
    assert (np.diff(scores[kept]) <= 0).all(), "best first"
    again = nms.suppress(boxes[kept], scores[kept], ids[kept], iou, limit)
    assert again.tolist() == list(range(len(kept))), "idempotent"
    shorter = nms.suppress(boxes, scores, ids, iou, limit // 2)
    assert shorter.tolist() == kept[: limit // 2].tolist(), "a smaller limit is a prefix"
    survivors = as_reference(boxes[kept], scores[kept], ids[kept])[:40]
    for index, box in enumerate(survivors):
        for other in survivors[:index]:
            assert box.class_id != other.class_id or overlap(box, other) <= iou + 1e-5


def test_one_object_seen_by_every_anchor_is_quick_and_one_box():
    boxes = np.tile(np.array([[10, 10, 90, 90]], np.float32), (25_200, 1))
    scores = np.linspace(0.2, 0.9, 25_200, dtype=np.float32)
    assert nms.suppress(boxes, scores, np.zeros(25_200, np.intp), 0.45, 300).tolist() == [25_199]


def test_more_candidates_than_the_cut_keep_the_best():
    count = nms.MAX_CANDIDATES + 500
    left = np.arange(count, dtype=np.float32)[:, None] * 2
    boxes = np.concatenate((left, left * 0, left + 1, left * 0 + 1), axis=1)
    kept = nms.suppress(boxes, np.arange(count, dtype=np.float32), None, 0.5, 3)
    assert kept.tolist() == [count - 1, count - 2, count - 3]
