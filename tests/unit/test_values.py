"""Boxes, scores and frames."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import EMOTIONS, LABELS, Box, Face, Frame, Scores, shown_name
from tests.fakes.parts import picture

# In sixteenths of a pixel, which floats represent exactly, so that rounding does not affect the tests.
SIDES = st.integers(-1600, 80_000).map(lambda n: n / 16)
NO_SIDES = st.integers(-1600, 0).map(lambda n: n / 16)
PLACES = st.integers(-80_000, 80_000).map(lambda n: n / 16)
BOXES = st.builds(Box, PLACES, PLACES, SIDES, SIDES)
EMPTY = st.one_of(
    st.builds(Box, PLACES, PLACES, NO_SIDES, SIDES),
    st.builds(Box, PLACES, PLACES, SIDES, NO_SIDES),
)
WHOLE = st.builds(Box, *[st.integers(-50, 50)] * 2, *[st.integers(1, 60)] * 2)
WEIGHTS = st.lists(st.floats(0, 1e6), min_size=7, max_size=7).filter(lambda values: sum(values) > 1e-6)


@settings(deadline=None)
@given(BOXES, BOXES)
def test_overlap_is_symmetric_and_a_share(a: Box, b: Box) -> None:
    assert a.iou(b) == pytest.approx(b.iou(a))
    assert 0.0 <= a.iou(b) <= 1.0 + 1e-9
    assert a.intersection(b) <= min(a.area, b.area) * (1 + 1e-9) + 1e-6


@settings(deadline=None)
@given(WHOLE, WHOLE)
def test_overlap_is_what_counting_pixels_gives(a: Box, b: Box) -> None:
    canvas = np.zeros((2, 200, 200), bool)
    for layer, box in enumerate((a, b)):
        canvas[layer, int(box.y) + 60 : int(box.bottom) + 60, int(box.x) + 60 : int(box.right) + 60] = True
    both, either = int((canvas[0] & canvas[1]).sum()), int((canvas[0] | canvas[1]).sum())
    assert a.intersection(b) == both
    assert a.iou(b) == pytest.approx(both / either)


@settings(deadline=None)
@given(WHOLE)
def test_a_box_overlaps_itself_completely(box: Box) -> None:
    assert box.iou(box) == 1.0


@settings(deadline=None)
@given(EMPTY, BOXES)
def test_a_box_without_extent_overlaps_nothing(empty: Box, other: Box) -> None:
    assert empty.area == 0.0
    assert empty.iou(other) == 0.0


@settings(deadline=None)
@given(WHOLE, WHOLE, st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_moving_both_boxes_changes_no_overlap(a: Box, b: Box, dx: int, dy: int) -> None:
    assert a.moved(dx, dy).iou(b.moved(dx, dy)) == pytest.approx(a.iou(b))
    assert a.moved(dx, dy).center == pytest.approx((a.center[0] + dx, a.center[1] + dy))


def test_corners_and_middle() -> None:
    box = Box(10.0, 20.0, 30.0, 40.0)
    assert (box.right, box.bottom, box.center, box.area) == (40.0, 60.0, (25.0, 40.0), 1200.0)


@settings(deadline=None)
@given(WEIGHTS)
def test_scores_sum_to_one_and_keep_their_proportions(weights: list[float]) -> None:
    made = Scores.of(np.array(weights))
    assert math.fsum(made.values) == pytest.approx(1.0)
    assert all(0.0 <= value <= 1.0 for value in made.values)
    assert made.values == pytest.approx([weight / math.fsum(weights) for weight in weights])


@settings(deadline=None)
@given(WEIGHTS)
def test_dominant_is_the_largest(weights: list[float]) -> None:
    made = Scores.of(np.array(weights))
    assert made.named()[made.dominant] == made.top == max(made.values)


@pytest.mark.parametrize(
    "weights",
    [[0.0] * 7, [1.0] * 6, [1.0] * 8, [math.nan] + [1.0] * 6, [math.inf] + [1.0] * 6, [[1.0] * 7]],
    ids=["all zero", "six", "eight", "not a number", "infinite", "two-dimensional"],
)
def test_invalid_scores_are_refused(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="expected seven finite numbers"):
        Scores.of(np.array(weights))


def test_names_are_in_the_order_of_the_contract() -> None:
    assert EMOTIONS == ("angry", "disgusted", "fear", "happy", "sad", "surprised", "neutral")
    assert tuple(Scores.of(np.arange(7.0)).named()) == EMOTIONS


def test_people_read_fearful_and_words_without_underscores() -> None:
    names = {label: shown_name(label) for label in LABELS}
    assert names.pop("fear") == "fearful"
    assert names == {label: label.replace("_", " ") for label in LABELS if label != "fear"}


def test_frames_are_read_only() -> None:
    taken = Frame(0, 0.0, picture(40, 30))
    assert (taken.width, taken.height) == (40, 30)
    with pytest.raises(ValueError, match="read-only"):
        taken.image[0, 0] = 1


def test_a_scaled_face_has_box_and_keypoints_of_the_larger_picture() -> None:
    face = Face(Box(1, 2, 3, 4), 0.5, ((5, 6), (7, 8)))
    assert face.scaled(2) == Face(Box(2, 4, 6, 8), 0.5, ((10, 12), (14, 16)))
    assert face.scaled(1) is face
