"""One person's scores over time, and their label.

The scores are averaged since the last change of the expression: for long if the face is steady, not at all if
it has just changed. What counts as a change, and by how much a new label must lead, depends on how much this
face's scores vary from frame to frame. Times are seconds of the frames, so the frame rate does not matter.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from appliance.values import EMOTIONS, NOT_READABLE, UNSURE, ExpressionResult, Scores

Weights = NDArray[np.float64]

GAP_S = 1.0
"""After a longer time without scores, because a face is unreadable or out of view, smoothing restarts."""

_RECENT_S = 0.08
"""Time constant of the short mean that detects a change, and of the scores right after one."""

_HOLD_S = 0.1
"""A label changes once another has been due for this long: a single frame changes nothing."""

_NOISE_S = 2.0
"""Time constant of the noise estimate."""
_NOISE_AT_FIRST, _NOISE_MOST = 0.07, 0.3
"""Noise of a new face (a typical value; see docs/quality.md), and the most that one frame may add."""

_CHANGE_NOISES, _CHANGE_LEAST, _CHANGE_MOST = 3.5, 0.2, 0.5
"""The short mean has changed at this many times the noise, within these bounds (0 same, 1 disjoint)."""

_STEADY = 0.5
"""The expression is steady while the short mean is within this share of what counts as a change."""

_LEAD_NOISES, _LEAD_LEAST, _LEAD_MOST = 2.2, 0.05, 0.2
"""A new label must lead by this many times the noise, within these bounds (probability)."""


class Smoother:
    """Smooths the scores of one person and chooses their label."""

    def __init__(self, *, smoothing_s: float, unsure_below: float) -> None:
        """`smoothing_s`: how long a steady face is averaged; `unsure_below`: lowest top score with a label.

        With `smoothing_s` 0 the scores and the label of each frame are independent.
        """
        self._smoothing_s, self._unsure_below = smoothing_s, unsure_below
        self._mean: Weights | None = None
        self._recent: Weights = np.zeros(len(EMOTIONS))
        self._last: Weights = np.zeros(len(EMOTIONS))
        self._noise = _NOISE_AT_FIRST
        self._seen = self._changed = 0.0
        self._label: str | None = None
        self._due_since: float | None = None
        self._readable = self._steady = False

    @property
    def readable(self) -> bool:
        """Whether the last frame had scores."""
        return self._readable

    @property
    def steady(self) -> bool:
        """Whether neither the expression nor the label is changing; never with `smoothing_s` 0."""
        return self._readable and self._steady and self._due_since is None

    def add(self, result: ExpressionResult, now: float) -> tuple[Scores | None, str]:
        """The smoothed scores and the label after one more frame, at `now` seconds.

        Scores with the baseline subtracted are used where there are any.
        A frame that is not readable has no scores, even if it is only one. Smoothing continues across it, so
        the label is the same before and after.
        """
        scores = result.adjusted or result.scores
        self._readable = scores is not None
        if scores is None:
            return None, NOT_READABLE
        raw = np.asarray(scores.values, np.float64)
        if self._mean is None or self._smoothing_s <= 0 or now - self._seen > GAP_S:
            mean = self._start(raw, now)
        else:
            mean = self._follow(self._mean, raw, now)
        self._mean, self._last, self._seen = mean, raw, now
        smoothed = scores if mean is raw else Scores.of(mean)
        return smoothed, self._named(smoothed, now)

    def _start(self, raw: Weights, now: float) -> Weights:
        self._recent, self._noise, self._steady = raw, _NOISE_AT_FIRST, False
        self._changed, self._label = now, None
        return raw

    def _follow(self, mean: Weights, raw: Weights, now: float) -> Weights:
        """The mean after one more frame: since the last change, at most over `smoothing_s`."""
        passed = max(0.0, now - self._seen)
        # Two frames of a motionless face differ by the noise of both.
        scatter = min(_apart(raw, self._last), _NOISE_MOST) / math.sqrt(2)
        self._noise += _share(passed, _NOISE_S) * (scatter - self._noise)
        recent = _share(passed, _RECENT_S)
        self._recent = self._recent + recent * (raw - self._recent)
        # The noise of a mean over the last frames: more frames have less noise.
        averaged = math.sqrt(recent / (2 - recent))
        gate = min(max(_CHANGE_NOISES * averaged * self._noise, _CHANGE_LEAST), _CHANGE_MOST)
        apart = _apart(self._recent, mean)
        self._steady = apart <= _STEADY * gate
        if apart > gate:
            self._changed = now
            return self._recent
        since = min(max(now - self._changed, _RECENT_S), max(self._smoothing_s, _RECENT_S))
        return mean + _share(passed, since) * (raw - mean)

    def _named(self, smoothed: Scores, now: float) -> str:
        """The label: the last one, until another has been due for a while."""
        if self._label is None or self._smoothing_s <= 0:
            self._label, self._due_since = self._plain(smoothed), None
            return self._label
        due = self._due(smoothed, self._label)
        if due == self._label:
            self._due_since = None
        elif self._due_since is None:
            self._due_since = now
        elif now - self._due_since >= _HOLD_S - 1e-6:
            self._label, self._due_since = due, None
        return self._label

    def _plain(self, smoothed: Scores) -> str:
        return smoothed.dominant if smoothed.top >= self._unsure_below else UNSURE

    def _due(self, smoothed: Scores, label: str) -> str:
        """The label of the scores, unless `label` is equally good within the noise."""
        lead = min(max(_LEAD_NOISES * self._noise, _LEAD_LEAST), _LEAD_MOST)
        if label == UNSURE:
            return smoothed.dominant if smoothed.top >= self._unsure_below + lead / 2 else UNSURE
        if smoothed.top < self._unsure_below - lead / 2:
            return UNSURE
        behind = smoothed.top - smoothed.values[EMOTIONS.index(label)]
        return label if behind < lead else smoothed.dominant


def _share(passed: float, time_constant: float) -> float:
    """Weight of a new value in an exponential mean after `passed` seconds."""
    return 1.0 - math.exp(-passed / time_constant)


def _apart(one: Weights, other: Weights) -> float:
    """Total variation distance of two score vectors, 0 to 1."""
    return float(np.abs(one - other).sum()) / 2
