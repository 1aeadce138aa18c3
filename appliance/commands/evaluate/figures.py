"""The figures of a classifier on labelled pictures: pure arithmetic, nothing read and nothing written."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.values import EMOTIONS

Counts = NDArray[np.int64]
"""Shape (7, 7): row the label, column what the model says, both in the order of `EMOTIONS`."""

Z95 = 1.959963984540054
"""Half the width of a 95 % interval of the normal distribution, in standard deviations."""

BINS = 10
THRESHOLDS = tuple(step / 20 for step in range(20))
_ROUNDS, _SEED = 2000, 20250101


@dataclass(frozen=True)
class Rate:
    """`hits` of `of`, and its 95 % Wilson interval; the numbers are None when there was nothing to count."""

    hits: int
    of: int
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimate:
    """A figure that is no share of anything, with its 95 % bootstrap interval; None: nothing to tell from."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ClassFigures:
    """One expression: `pictures` have this label, `said` were called so."""

    name: str
    pictures: int
    said: int
    recall: Rate
    precision: Rate
    f1: Estimate


@dataclass(frozen=True)
class Bin:
    """The pictures whose top score lies from `low` to under `high`: its mean, and how many are right."""

    low: float
    high: float
    score: float | None
    accuracy: Rate


@dataclass(frozen=True)
class Step:
    """What a threshold on the top score keeps, and how many of those kept are right."""

    threshold: float
    kept: Rate
    accuracy: Rate


@dataclass(frozen=True)
class Figures:
    """Everything that is told about a classifier. `macro_f1` is the mean over classes that have pictures."""

    accuracy: Rate
    macro_f1: Estimate
    macro_classes: int
    classes: tuple[ClassFigures, ...]
    confusion: tuple[tuple[int, ...], ...]
    calibration_error: float | None
    calibration: tuple[Bin, ...]
    coverage: tuple[Step, ...]
    at_unsure: Step


def figures(truth: NDArray[np.int64], scores: NDArray[np.float64], unsure_below: float) -> Figures:
    """All figures. `truth`: (n,), indices into `EMOTIONS`; `scores`: (n, 7), rows sum to 1; n may be 0."""
    said, top = scores.argmax(axis=1), scores.max(axis=1, initial=0.0)
    right = said == truth
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    np.add.at(counts, (truth, said), 1)
    macro, each = f1_estimates(counts)
    bins = _calibration(top, right)
    return Figures(
        accuracy=rate(int(right.sum()), right.size),
        macro_f1=macro,
        macro_classes=int((counts.sum(axis=1) > 0).sum()),
        classes=tuple(_class_figures(counts, index, each[index]) for index in range(len(EMOTIONS))),
        confusion=tuple(tuple(int(cell) for cell in row) for row in counts),
        calibration_error=_calibration_error(bins),
        calibration=bins,
        coverage=tuple(_step(threshold, top, right) for threshold in THRESHOLDS),
        at_unsure=_step(unsure_below, top, right),
    )


def rate(hits: int, of: int) -> Rate:
    """A share with its 95 % Wilson score interval, which holds for few and for all-or-none counts too."""
    if of == 0:
        return Rate(hits, of, None, None, None)
    share = hits / of
    middle = (share + Z95**2 / (2 * of)) / (1 + Z95**2 / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + Z95**2 / (4 * of**2)) / (1 + Z95**2 / of)
    return Rate(hits, of, share, max(0.0, middle - half), min(1.0, middle + half))


def f1_estimates(counts: Counts) -> tuple[Estimate, tuple[Estimate, ...]]:
    """Macro-F1 over the classes that have pictures, and F1 of each class.

    The intervals are percentiles of a bootstrap over pictures with a fixed seed: drawing pictures again is
    drawing cells of the confusion matrix again, so it costs the same for any number of pictures.
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
    """F1 of each class; `counts`: (..., 7, 7), the result (..., 7), 0 where a class does not occur."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    return np.asarray(2 * hits / np.maximum(1, counts.sum(axis=-1) + counts.sum(axis=-2)), np.float64)


def _macro(f1: NDArray[np.float64], counts: Counts) -> NDArray[np.float64]:
    present = counts.sum(axis=-1) > 0
    return np.asarray((f1 * present).sum(axis=-1) / present.sum(axis=-1), np.float64)


def _estimate(value: float, draws: NDArray[np.float64]) -> Estimate:
    low, high = np.percentile(draws, (2.5, 97.5))
    return Estimate(value, float(low), float(high))


def _class_figures(counts: Counts, index: int, f1: Estimate) -> ClassFigures:
    hits, pictures, said = int(counts[index, index]), int(counts[index].sum()), int(counts[:, index].sum())
    return ClassFigures(EMOTIONS[index], pictures, said, rate(hits, pictures), rate(hits, said), f1)


def _calibration(top: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[Bin, ...]:
    place = np.minimum((top * BINS).astype(int), BINS - 1)  # a score of exactly 1 belongs to the last bin
    bins = []
    for index in range(BINS):
        inside = place == index
        count = int(inside.sum())
        score = float(top[inside].mean()) if count else None
        bins.append(Bin(index / BINS, (index + 1) / BINS, score, rate(int(right[inside].sum()), count)))
    return tuple(bins)


def _calibration_error(bins: tuple[Bin, ...]) -> float | None:
    """The expected calibration error: how far scores and shares of right answers lie apart, on average."""
    total = sum(each.accuracy.of for each in bins)
    if total == 0:
        return None
    apart = sum(
        each.accuracy.of * abs(each.score - each.accuracy.value)
        for each in bins
        if each.score is not None and each.accuracy.value is not None
    )
    return apart / total


def _step(threshold: float, top: NDArray[np.float64], right: NDArray[np.bool_]) -> Step:
    kept = top >= threshold
    count = int(kept.sum())
    return Step(threshold, rate(count, top.size), rate(int(right[kept].sum()), count))
