"""The metrics against values computed by hand or known from tables."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.commands.evaluate.metrics import (
    DetectedPicture,
    ExpressionMetrics,
    FaceAnnotation,
    expression_metrics,
    f1_estimates,
    face_metrics,
    match_boxes,
    proportion,
)
from appliance.values import EMOTIONS, Box

ANGRY, HAPPY, NEUTRAL = 0, 3, 6


def of(*rows: tuple[int, int, float], unsure_below: float = 0.0) -> ExpressionMetrics:
    """Metrics of (label, prediction, top score); the other scores are equal."""
    scores = np.zeros((len(rows), len(EMOTIONS)))
    for row, (_, said, top) in zip(scores, rows, strict=True):
        row[:] = (1 - top) / (len(EMOTIONS) - 1)
        row[said] = top
    return expression_metrics(np.array([truth for truth, _, _ in rows], np.int64), scores, unsure_below)


@pytest.mark.parametrize(
    ("hits", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662)],
)
def test_wilson_intervals_are_those_of_the_tables(hits: int, total: int, low: float, high: float) -> None:
    found = proportion(hits, total)
    assert found.value == hits / total
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_proportion_of_nothing_is_none() -> None:
    found = proportion(0, 0)
    assert (found.value, found.low, found.high) == (None, None, None)


def test_counts_recall_precision_and_f1() -> None:
    found = of((ANGRY, ANGRY, 0.9), (ANGRY, HAPPY, 0.9), (HAPPY, HAPPY, 0.9), (HAPPY, HAPPY, 0.9))
    assert (found.accuracy.hits, found.accuracy.of) == (3, 4)
    angry, happy, neutral = (found.classes[index] for index in (ANGRY, HAPPY, NEUTRAL))
    assert (angry.recall.value, angry.precision.value) == (0.5, 1.0)
    assert angry.f1.value == pytest.approx(2 / 3)
    assert (happy.pictures, happy.said) == (2, 3)
    assert (happy.recall.value, happy.precision.value) == (1.0, pytest.approx(2 / 3))
    assert happy.f1.value == pytest.approx(0.8)
    assert neutral.pictures == 0 and neutral.recall.value is None and neutral.f1.value is None
    assert found.macro_f1.value == pytest.approx((2 / 3 + 0.8) / 2)
    assert found.macro_classes == 2
    assert found.confusion[ANGRY][HAPPY] == 1 and sum(map(sum, found.confusion)) == 4


def test_macro_f1_excludes_a_class_that_is_only_predicted() -> None:
    found = of((HAPPY, HAPPY, 0.9), (HAPPY, NEUTRAL, 0.9))
    assert found.macro_classes == 1
    assert found.macro_f1.value == pytest.approx(2 / 3)
    assert found.classes[NEUTRAL].f1.value == 0.0


def test_the_bootstrap_is_deterministic_and_narrows_with_more_pictures() -> None:
    counts = np.zeros((7, 7), np.int64)
    counts[ANGRY, ANGRY], counts[ANGRY, HAPPY], counts[HAPPY, HAPPY], counts[HAPPY, ANGRY] = 14, 6, 18, 2
    few, many = f1_estimates(counts)[0], f1_estimates(counts * 25)[0]
    assert few == f1_estimates(counts)[0]
    assert few.value == pytest.approx(many.value)
    for each in (few, many):
        assert each.low is not None and each.high is not None and each.value is not None
        assert 0 < each.low < each.value < each.high < 1
    # About the normal approximation of a share of 0.8: 1.96 * sqrt(0.8 * 0.2 / 1000) = 0.025 on each side.
    assert many.high - many.low == pytest.approx(0.05, abs=0.01)  # type: ignore[operator]


def test_calibration_error_and_its_table() -> None:
    found = of((HAPPY, HAPPY, 0.95), (HAPPY, ANGRY, 0.95), (HAPPY, HAPPY, 0.65), (HAPPY, HAPPY, 1.0))
    last, sixth = found.calibration[9], found.calibration[6]
    assert (last.accuracy.hits, last.accuracy.of) == (2, 3)
    assert last.score == pytest.approx((0.95 + 0.95 + 1.0) / 3)
    assert (sixth.accuracy.hits, sixth.accuracy.of, sixth.score) == (1, 1, pytest.approx(0.65))
    assert found.calibration_error == pytest.approx((3 * abs(2.9 / 3 - 2 / 3) + 0.35) / 4)
    assert found.calibration[0].score is None


def test_coverage_keeps_scores_from_the_threshold_on() -> None:
    found = of((HAPPY, HAPPY, 0.9), (HAPPY, ANGRY, 0.5), (HAPPY, HAPPY, 0.4), unsure_below=0.5)
    assert (found.at_unsure.kept.hits, found.at_unsure.accuracy.hits) == (2, 1)
    assert found.coverage[0].kept.value == 1.0
    (strict,) = (step for step in found.coverage if step.threshold == 0.95)
    assert strict.kept.hits == 0 and strict.accuracy.value is None


def test_metrics_of_no_pictures() -> None:
    found = of()
    assert found.accuracy.value is None and found.macro_f1.value is None
    assert found.calibration_error is None and found.at_unsure.kept.value is None


# --- faces ---

FACE = Box(100, 100, 40, 40)


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (FACE, True),
        (FACE.moved(19, 0), True),
        (FACE.moved(21, 0), False),
        (Box(90, 90, 60, 60), True),
        (Box(81, 81, 78, 78), True),
        (Box(80, 80, 80, 80), False),  # exactly twice as large
        (Box(110, 110, 20, 20), False),  # exactly half
        (Box(120, 120, 0, 0), False),
    ],
)
def test_the_matching_rule(found: Box, fits: bool) -> None:
    assert match_boxes([FACE], [found]) == ([fits], 0 if fits else 1)


def test_a_box_matches_once() -> None:
    assert match_boxes([FACE, FACE.moved(5, 0)], [FACE]) == ([True, False], 0)
    assert match_boxes([FACE], [FACE, FACE]) == ([True], 1)
    assert match_boxes([], [FACE]) == ([], 1)


def test_faces_by_width_kind_and_picture() -> None:
    pictures = [
        DetectedPicture(
            "a",
            1000,
            (FaceAnnotation(Box(0, 0, 20, 20)), FaceAnnotation(Box(100, 0, 199, 199), "masked")),
            (),
        ),
        DetectedPicture(
            "b", 1000, (FaceAnnotation(Box(0, 0, 200, 200)),), (Box(0, 0, 200, 200), Box(500, 500, 50, 50))
        ),
        DetectedPicture("c", 1000, (), ()),
    ]
    found = face_metrics(pictures)
    assert (found.recall.hits, found.recall.of) == (1, 3)
    counts = {(each.low, each.high): (each.recall.hits, each.recall.of) for each in found.widths}
    assert counts[0.02, 0.03] == (0, 1), "a width on an edge belongs to the wider range"
    assert counts[0.10, 0.20] == (0, 1)
    assert counts[0.20, None] == (1, 1)
    assert sum(total for _, total in counts.values()) == 3
    assert {kind: (each.hits, each.of) for kind, each in found.kinds.items()} == {
        "face": (1, 2),
        "masked": (0, 1),
    }
    assert (found.found_boxes, found.false_boxes, found.pictures_with_false_boxes) == (2, 1, 1)
    assert found.false_per_picture == pytest.approx(1 / 3)
    assert [(miss.picture, round(miss.share, 3)) for miss in found.misses] == [("a", 0.199), ("a", 0.02)]


def test_face_metrics_of_no_pictures() -> None:
    found = face_metrics([])
    assert found.recall.value is None and found.false_per_picture is None
