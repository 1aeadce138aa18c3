"""Baseline: how a person's face looks at rest, to the classifier.

Some faces look angry or sad at rest. A share of the difference between the person's own rest and a typical
one is subtracted from the logits of each frame. See docs/decisions/0105-baseline.md.

Floats here are logarithms of calibrated scores, centred to a sum of 0: float32, shape (7,), in the order of
`EMOTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from appliance.inference.manifest import RestModel
from appliance.values import Floats, Pose, Scores
from appliance.vision.expression.classifier import softmax

RUNNING, TAKING, TAKEN, PICTURES = "running", "taking", "taken", "pictures"
"""How the baseline came about: from calm frames, being taken, taken on purpose, from a person's pictures."""

TAKE_S = 10.0
"""How long the face rests while a baseline is taken on purpose."""

_TAKE_LEAST_S = 3.0
"""With fewer seconds of usable frames in `TAKE_S`, nothing is taken."""

_RUNNING_FROM_S = 5.0
"""Seconds of calm frames until a running baseline is used."""

_SLOW_S = 60.0
"""The running baseline is the mean of all calm frames until then; afterwards this is its time constant."""

_FRONTAL_DEG = 20.0
"""Largest yaw and pitch of a frame that counts."""

_STEP_S = 0.2
"""Longest time that one frame stands for."""

_LEAST_SCORE = 1e-9
"""A smaller score has the logit of this one."""

_STRENGTH_S = 0.3
"""Time constant of the logits whose distance from rest is the strength: noise is a distance, too."""


class Baseline:
    """One person's resting logits, and how far the face is from them. It ends with the person's track."""

    def __init__(self, model: RestModel) -> None:
        self._model = model
        self._typical = np.asarray(model.typical, np.float32)
        self._rest = self._typical
        self._calm_s = 0.0
        self._taken = False
        self._taking: list[tuple[Floats, float]] | None = None
        self._taking_until = 0.0
        self._recent: Floats | None = None
        self._seen = -math.inf

    @property
    def kind(self) -> str | None:
        """`RUNNING`, `TAKING` or `TAKEN`; None without a baseline."""
        if self._taking is not None:
            return TAKING
        if self._taken:
            return TAKEN
        return RUNNING if self._calm_s >= _RUNNING_FROM_S else None

    def take(self, now: float) -> None:
        """Take the baseline on purpose, from the next `TAKE_S` seconds on."""
        self._taking, self._taking_until = [], now + TAKE_S

    def adjust(self, scores: Scores) -> Scores | None:
        """The scores of a frame with a share of the baseline subtracted; None without a baseline."""
        if not self._is_known:
            return None
        logits = logits_of(scores) - self._model.share * (self._rest - self._typical)
        return Scores.of(softmax(logits))

    @property
    def strength(self) -> float | None:
        """Distance of the recent frames from rest, 0 at rest to 1; None without a baseline."""
        if not self._is_known or self._recent is None:
            return None
        return min(float(np.linalg.norm(self._recent - self._rest)) / self._model.strong, 1.0)

    def add(self, scores: Scores, pose: Pose | None, now: float, *, calm: bool) -> None:
        """Add the scores of a readable frame, before any adjustment, at `now` seconds.

        `calm`: neither the expression nor the label is changing, so the person is not talking either.
        """
        logits = logits_of(scores)
        passed = min(max(now - self._seen, 0.0), _STEP_S)
        recent = logits if self._recent is None else self._recent
        self._recent = recent + np.float32(1.0 - math.exp(-passed / _STRENGTH_S)) * (logits - recent)
        self._seen = now
        frontal = pose is not None and max(abs(pose.yaw), abs(pose.pitch)) <= _FRONTAL_DEG
        if self._taking is not None:
            self._add_taken(logits, passed, now, usable=frontal)
        elif calm and frontal and not self._taken and self._is_plausible(logits):
            self._calm_s += passed
            if passed > 0:
                share = np.float32(passed / min(self._calm_s, _SLOW_S))
                self._rest = self._rest + share * (logits - self._rest)

    @property
    def _is_known(self) -> bool:
        return self._taken or self._calm_s >= _RUNNING_FROM_S

    def _is_plausible(self, logits: Floats) -> bool:
        """Whether a face may look like this at rest: a long smile is no rest."""
        return float(np.linalg.norm(logits - self._typical)) <= self._model.radius

    def _add_taken(self, logits: Floats, passed: float, now: float, *, usable: bool) -> None:
        assert self._taking is not None
        if now < self._taking_until:
            if usable:
                self._taking.append((logits, passed))
            return
        taken, self._taking = self._taking, None
        if sum(seconds for _, seconds in taken) >= _TAKE_LEAST_S:
            # The median, so that a blink or a word does not count.
            rest = np.median([each for each, _ in taken], axis=0)
            self._rest, self._taken = np.asarray(rest - rest.mean(), np.float32), True


def logits_of(scores: Scores) -> Floats:
    """The logits of calibrated scores."""
    logits = np.log(np.maximum(np.array(scores.values), _LEAST_SCORE))
    return np.asarray(logits - logits.mean(), np.float32)


def common_logits(pictures: Floats) -> Floats:
    """What the pictures of one person, shape (count, 7), have in common: the person, not an expression.

    The pictures are grouped by their likeliest expression, so that many similar ones count once. With G
    groups the mean of their means is multiplied by 1 - 1/G: a single group shows nothing to compare.
    """
    likeliest = pictures.argmax(axis=1)
    groups = [pictures[likeliest == number].mean(axis=0) for number in np.unique(likeliest)]
    return np.asarray(np.mean(groups, axis=0) * (1 - 1 / len(groups)), np.float32)


def adjust_pictures(pictures: Sequence[Scores], model: RestModel) -> list[Scores]:
    """The scores of one person's pictures with a share of what is common to all of them subtracted."""
    if not pictures:
        return []
    logits = np.stack([logits_of(each) for each in pictures])
    common = common_logits(logits)
    return [Scores.of(softmax(each - model.pictures_share * common)) for each in logits]
