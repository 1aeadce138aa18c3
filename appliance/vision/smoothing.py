"""One person's scores over time, and the label that is claimed of them."""

from __future__ import annotations

import math

import numpy as np

from appliance.values import NOT_READABLE, UNSURE, Look, Scores


class Smoother:
    """Smooths the scores of one person and names them."""

    def __init__(self, *, smoothing_s: float, unsure_below: float) -> None:
        """`smoothing_s`: time constant of the mean; `unsure_below`: the least top score that is claimed."""
        self._smoothing_s, self._unsure_below = smoothing_s, unsure_below
        self._smoothed: Scores | None = None
        self._seen = 0.0

    def add(self, look: Look, now: float) -> tuple[Scores | None, str]:
        """The smoothed scores and the label after one more look, taken at `now` seconds."""
        if look.scores is None:
            return None, NOT_READABLE
        self._smoothed = self._mean(look.scores, now - self._seen)
        self._seen = now
        sure = self._smoothed.top >= self._unsure_below
        return self._smoothed, self._smoothed.dominant if sure else UNSURE

    def _mean(self, raw: Scores, passed: float) -> Scores:
        before = self._smoothed
        if before is None or self._smoothing_s <= 0:
            return raw
        share = 1.0 - math.exp(-passed / self._smoothing_s)
        return Scores.of(np.asarray(before.values) * (1 - share) + np.asarray(raw.values) * share)
