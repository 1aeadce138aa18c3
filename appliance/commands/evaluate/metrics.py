"""Metrics of a classifier on labelled pictures, and of a detector on pictures with face boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.values import EMOTIONS, Box

# --- expressions ---

Counts = NDArray[np.int64]
"""Confusion matrix, shape (7, 7): rows are labels, columns predictions, in the order of `EMOTIONS`."""

Z95 = 1.959963984540054
"""Half the width of the 95 % interval of a normal distribution, in standard deviations."""

BINS = 10
THRESHOLDS = tuple(step / 20 for step in range(20))
_ROUNDS, _SEED = 2000, 20250101


@dataclass(frozen=True)
class Proportion:
    """`hits` of `of` with its 95 % Wilson interval; None if there is nothing to count."""

    hits: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """A metric that is not a proportion, with its 95 % bootstrap interval; None without pictures."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassMetrics:
    """One expression: `pictures` have this label, `said` were predicted as it."""

    name: str
    pictures: int
    said: int
    recall: Proportion
    precision: Proportion
    f1: Estimate


@dataclass(frozen=True)
class CalibrationBin:
    """The pictures with a top score from `low` to below `high`: mean score and accuracy."""

    low: float
    high: float
    score: float | None
    accuracy: Proportion


@dataclass(frozen=True)
class ThresholdPoint:
    """The share of pictures that a threshold on the top score keeps, and their accuracy."""

    threshold: float
    kept: Proportion
    accuracy: Proportion


@dataclass(frozen=True)
class ExpressionMetrics:
    """All metrics of a classifier. `macro_f1` is the mean over classes that have pictures."""

    accuracy: Proportion
    macro_f1: Estimate
    macro_classes: int
    classes: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float | None
    calibration: tuple[CalibrationBin, ...]
    coverage: tuple[ThresholdPoint, ...]
    at_unsure: ThresholdPoint


def expression_metrics(
    truth: NDArray[np.int64], scores: NDArray[np.float64], unsure_below: float
) -> ExpressionMetrics:
    """All metrics. `truth`: (n,), indices into `EMOTIONS`; `scores`: (n, 7), rows sum to 1; n may be 0."""
    said, top = scores.argmax(axis=1), scores.max(axis=1, initial=0.0)
    right = said == truth
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    np.add.at(counts, (truth, said), 1)
    macro, each = f1_estimates(counts)
    bins = _calibration(top, right)
    return ExpressionMetrics(
        accuracy=proportion(int(right.sum()), right.size),
        macro_f1=macro,
        macro_classes=int((counts.sum(axis=1) > 0).sum()),
        classes=tuple(_class_metrics(counts, index, each[index]) for index in range(len(EMOTIONS))),
        confusion=tuple(tuple(int(cell) for cell in row) for row in counts),
        calibration_error=_calibration_error(bins),
        calibration=bins,
        coverage=tuple(_step(threshold, top, right) for threshold in THRESHOLDS),
        at_unsure=_step(unsure_below, top, right),
    )


def proportion(hits: int, of: int) -> Proportion:
    """A proportion with its 95 % Wilson score interval (1927), valid for small and extreme counts too."""
    if of == 0:
        return Proportion(hits, of, None, None, None)
    share = hits / of
    middle = (share + Z95**2 / (2 * of)) / (1 + Z95**2 / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + Z95**2 / (4 * of**2)) / (1 + Z95**2 / of)
    return Proportion(hits, of, share, max(0.0, middle - half), min(1.0, middle + half))


def f1_estimates(counts: Counts) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Macro-F1 over the classes that have pictures, and F1 of each class.

    The intervals are percentiles of a bootstrap over pictures with a fixed seed. It resamples cells of the
    confusion matrix, which is equivalent, so its cost does not depend on the number of pictures.
    """
    total = int(counts.sum())
    nothing = Estimate(None, None, None)
    if total == 0:
        return nothing, (nothing,) * len(EMOTIONS)
    cells = counts.ravel() / total
    draws = np.random.default_rng(_SEED).multinomial(total, cells, size=_ROUNDS).reshape(-1, *counts.shape)
    each, drawn = _f1(counts), _f1(draws)
    known = counts.sum(axis=1) + counts.sum(axis=0) > 0
    classes = tuple(
        _estimate(float(each[index]), drawn[:, index]) if known[index] else nothing
        for index in range(len(EMOTIONS))
    )
    return _estimate(float(_macro(each, counts)), _macro(drawn, draws)), classes


def _f1(counts: Counts) -> NDArray[np.float64]:
    """F1 of each class, shape (..., 7), from `counts`, shape (..., 7, 7); 0 for an absent class."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.asarray(2 * hits / np.maximum(1, counts.sum(axis=-1) + counts.sum(axis=-2)), np.float64)


def _macro(f1: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    present = counts.sum(axis=-1) > 0
    return np.asarray((f1 * present).sum(axis=-1) / present.sum(axis=-1), np.float64)


def _estimate(value: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(draws, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def _class_metrics(counts: Counts, index: int, f1: Estimate) -> ClassMetrics:
    hits, pictures, said = int(counts[index, index]), int(counts[index].sum()), int(counts[:, index].sum())
    return ClassMetrics(
        EMOTIONS[index], pictures, said, proportion(hits, pictures), proportion(hits, said), f1
    )


def _calibration(top: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    place = np.minimum((top * BINS).astype(int), BINS - 1)  # a score of exactly 1 is in the last bin
    bins = []
    for index in range(BINS):
        inside = place == index
        count = int(inside.sum())
        score = float(top[inside].mean()) if count else None
        bins.append(
            CalibrationBin(
                index / BINS, (index + 1) / BINS, score, proportion(int(right[inside].sum()), count)
            )
        )
    return tuple(bins)


def _calibration_error(bins: tuple[CalibrationBin, ...]) -> float | None:
    """Expected calibration error: mean difference of score and accuracy (Naeini et al., 2015)."""
    total = sum(each.accuracy.of for each in bins)
    if total == 0:
        return None
    apart = sum(
        each.accuracy.of * abs(each.score - each.accuracy.value)
        for each in bins
        if each.score is not None and each.accuracy.value is not None
    )
    return apart / total


def _step(threshold: float, top: NDArray[np.float64], right: NDArray[np.bool_]) -> ThresholdPoint:
    kept = top >= threshold
    count = int(kept.sum())
    return ThresholdPoint(threshold, proportion(count, top.size), proportion(int(right[kept].sum()), count))


# --- faces ---

RULE = (
    "a face counts as found if a box not used for another face has its centre inside the annotated box and"
    " 0.5 to 2 times its size (square root of the area)"
)
"""How annotated and detected boxes are matched, for the report."""

EDGES = (0.0, 0.02, 0.03, 0.04, 0.06, 0.10, 0.20)
"""Lower limits of the ranges of face widths, as shares of the picture's width; the last range is open."""

_SIZES = (0.5, 2.0)


@dataclass(frozen=True)
class FaceAnnotation:
    """An annotated face: its box in pixels, and its kind."""

    box: Box
    kind: str = "face"


@dataclass(frozen=True)
class DetectedPicture:
    """A picture: its name, its width in pixels, its annotated faces, and the boxes that were detected."""

    name: str
    width: int
    marked: tuple[FaceAnnotation, ...]
    found: tuple[Box, ...]


@dataclass(frozen=True)
class WidthRange:
    """Recall of the faces from `low` to below `high` of the picture's width; `high` None: no upper limit."""

    low: float
    high: float | None
    recall: Proportion


@dataclass(frozen=True)
class Miss:
    """An annotated face that was not detected; `share`: its width as a share of the picture's."""

    picture: str
    box: tuple[float, float, float, float]
    share: float
    kind: str


@dataclass(frozen=True)
class FaceMetrics:
    """The metrics of a detector; `misses`: widest first."""

    rule: str
    recall: Proportion
    widths: tuple[WidthRange, ...]
    kinds: dict[str, Proportion]
    found_boxes: int
    false_boxes: int
    false_per_picture: float | None
    pictures_with_false_boxes: int
    misses: tuple[Miss, ...]


def face_metrics(pictures: Sequence[DetectedPicture]) -> FaceMetrics:
    """The metrics of a detector on these pictures; there may be none."""
    faces: list[tuple[Miss, bool]] = []
    false = []
    for picture in pictures:
        hits, left = match_boxes([each.box for each in picture.marked], picture.found)
        false.append(left)
        for each, hit in zip(picture.marked, hits, strict=True):
            box = each.box
            place = (box.x, box.y, box.width, box.height)
            faces.append((Miss(picture.name, place, box.width / picture.width, each.kind), hit))
    misses = sorted((face for face, hit in faces if not hit), key=lambda face: -face.share)
    return FaceMetrics(
        rule=RULE,
        recall=_recall([hit for _, hit in faces]),
        widths=tuple(_widths(faces)),
        kinds={
            kind: _recall([hit for face, hit in faces if face.kind == kind])
            for kind in sorted({face.kind for face, _ in faces})
        },
        found_boxes=sum(len(picture.found) for picture in pictures),
        false_boxes=sum(false),
        false_per_picture=sum(false) / len(pictures) if pictures else None,
        pictures_with_false_boxes=sum(1 for left in false if left),
        misses=tuple(misses),
    )


def match_boxes(marked: Sequence[Box], found: Sequence[Box]) -> tuple[list[bool], int]:
    """Which annotated boxes were detected, by `RULE`, and how many detected boxes are false."""
    free = list(found)
    hits = []
    for box in marked:
        fitting = next((each for each in free if _fits(each, box)), None)
        hits.append(fitting is not None)
        if fitting is not None:
            free.remove(fitting)
    return hits, len(free)


def _fits(found: Box, marked: Box) -> bool:
    x, y = found.center
    inside = marked.x <= x <= marked.right and marked.y <= y <= marked.bottom
    smallest, largest = _SIZES
    return inside and smallest < math.sqrt(found.area / marked.area) < largest


def _widths(faces: Sequence[tuple[Miss, bool]]) -> list[WidthRange]:
    ends: list[float | None] = [*EDGES[1:], None]
    return [
        WidthRange(low, high, _recall([hit for face, hit in faces if low <= face.share < (high or math.inf)]))
        for low, high in zip(EDGES, ends, strict=True)
    ]


def _recall(hits: Sequence[bool]) -> Proportion:
    return proportion(sum(hits), len(hits))
