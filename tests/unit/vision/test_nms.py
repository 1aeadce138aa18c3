"""Overlapping boxes become one face: within one detection, and across parts of a picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import Box, Face
from appliance.vision.detection.nms import is_same_face, weighted_nms, weighted_nms_arrays


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.right, box.bottom


def suppressed(*boxes: tuple[float, float, float, float, float]) -> list[Face]:
    """Faces from (left, top, right, bottom, score)."""
    points = np.array([[[b[0], b[1]], [b[2], b[3]], [b[0], b[3]]] for b in boxes], np.float32)
    return weighted_nms_arrays(points, np.array([b[4] for b in boxes], np.float32))


def test_overlapping_boxes_merge_into_their_weighted_mean() -> None:
    (found,) = suppressed((0, 0, 100, 100, 0.6), (10, 20, 110, 120, 0.9))
    assert found.score == pytest.approx(0.9)
    assert corners(found.box) == pytest.approx((6.0, 12.0, 106.0, 112.0), abs=1e-3)
    assert found.keypoints == (pytest.approx((6.0, 112.0), abs=1e-3),)


def test_separate_boxes_stay_with_the_highest_score_first() -> None:
    faces = suppressed((0, 0, 10, 10, 0.6), (20, 0, 30, 10, 0.9), (40, 0, 50, 10, 0.7))
    assert [found.score for found in faces] == pytest.approx([0.9, 0.7, 0.6])
    assert [found.box.x for found in faces] == pytest.approx([20, 40, 0])


@pytest.mark.parametrize(("shift", "faces"), [(53, 1), (55, 2)], ids=["IoU 0.31", "IoU 0.29"])
def test_boxes_merge_above_an_iou_of_0_3(shift: int, faces: int) -> None:
    assert len(suppressed((0, 0, 100, 100, 0.9), (shift, 0, 100 + shift, 100, 0.8))) == faces


@pytest.mark.parametrize(
    "box", [(5, 5, 5, 5), (5, 5, 5, 9), (9, 9, 5, 5)], ids=["point", "line", "inside out"]
)
def test_a_degenerate_box_suppresses_no_other(box: tuple[float, float, float, float]) -> None:
    faces = suppressed((*box, 0.95), (0, 0, 20, 20, 0.9), (1, 0, 21, 20, 0.8))
    assert [found.score for found in faces] == pytest.approx([0.95, 0.9])
    assert faces[1].box.area > 300


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 100)] * 4, st.floats(0.01, 1)), max_size=12))
def test_merged_boxes_are_within_their_inputs(boxes: list[tuple[float, float, float, float, float]]) -> None:
    points = np.array([b[:4] for b in boxes], np.float32).reshape(-1, 2, 2)
    faces = weighted_nms_arrays(points, np.array([b[4] for b in boxes], np.float32))
    assert len(faces) <= len(boxes) and bool(faces) == bool(boxes)
    assert [found.score for found in faces] == sorted((found.score for found in faces), reverse=True)
    for found in faces:
        assert all(points.min() - 1e-3 <= value <= points.max() + 1e-3 for value in corners(found.box))


# --- over several parts of a picture ---


def face(x: float, y: float, side: float, score: float) -> Face:
    return Face(Box(x, y, side, side), score, ((x, y),))


def test_one_face_found_in_two_regions_is_merged() -> None:
    (found,) = weighted_nms([face(100, 100, 50, 0.6), face(104, 98, 50, 0.8)])
    assert found.score == pytest.approx(0.8)
    assert 100 < found.box.x < 104 and found.keypoints[0][0] == pytest.approx(found.box.x)


def test_part_of_a_face_is_dropped_and_does_not_move_it() -> None:
    whole, part = face(100, 100, 100, 0.9), face(110, 110, 40, 0.7)
    (found,) = weighted_nms([part, whole])
    assert found.box == whole.box


def test_a_larger_box_around_a_higher_scoring_face_is_dropped() -> None:
    sure, around = face(130, 130, 40, 0.9), face(100, 100, 100, 0.5)
    (found,) = weighted_nms([around, sure])
    assert found.box == sure.box


def test_two_people_side_by_side_stay_separate() -> None:
    assert len(weighted_nms([face(100, 100, 60, 0.9), face(150, 100, 60, 0.8)])) == 2


def test_no_faces_merge_into_none() -> None:
    assert weighted_nms([]) == []


@pytest.mark.parametrize(
    ("other", "same"),
    [(Box(10, 10, 100, 100), True), (Box(30, 30, 20, 20), True), (Box(90, 0, 100, 100), False)],
    ids=["nearly", "within", "next to it"],
)
def test_is_same_face_is_symmetric(other: Box, same: bool) -> None:
    box = Box(0, 0, 100, 100)
    assert is_same_face(box, other) == is_same_face(other, box) == same
