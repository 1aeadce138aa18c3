"""Three detections decide on a face, and the third is made only where it can decide."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.cascade import DetectorCascade

PICTURE: Image = np.zeros((400, 600, 3), np.uint8)
PLACE = Box(250.0, 150.0, 80.0, 80.0)


class OneScore:
    """A detector that sees a face in the middle of every region, with one score; 0: it sees none."""

    def __init__(self, score: float, threshold: float = 0.5) -> None:
        self.score, self.threshold = score, threshold
        self.runs = 0

    def find(self, image: Image, threshold: float) -> list[Face]:
        self.runs += 1
        x, y = image.shape[1] / 2 - 40, image.shape[0] / 2 - 40
        return [Face(Box(x, y, 80.0, 80.0), self.score, ())] if self.score >= threshold else []


def verified(found: float, close: float, wide: float, threshold: float = 0.5) -> tuple[float | None, int]:
    """The score of the face, None if it is rejected, and how often the wide detector ran."""
    detector, verifier = OneScore(wide, threshold), OneScore(close)
    cascade = DetectorCascade(cast(BlazeFace, detector), cast(BlazeFace, verifier))
    face = cascade.verify(PICTURE, Face(PLACE, found, ()))
    assert verifier.runs == 1
    return (round(face.score, 3) if face else None), detector.runs


@pytest.mark.parametrize(
    ("scores", "score", "runs"),
    [
        ((0.8, 0.9, 0.0), 0.85, 0),  # no third score could change it
        ((0.5, 0.98, 0.2), 0.56, 1),
        ((0.3, 0.5, 0.75), 0.517, 1),
        ((0.3, 0.5, 0.6), None, 1),
        ((0.3, 0.3, 0.98), None, 0),  # a high score after two low ones was never seen
        ((0.2, 0.0, 0.98), None, 0),
        ((0.8, 0.0, 0.8), 0.533, 1),
    ],
)
def test_the_third_detection_is_made_if_it_can_decide(
    scores: tuple[float, float, float], score: float | None, runs: int
) -> None:
    assert verified(*scores) == (score, runs)


@pytest.mark.parametrize(
    ("threshold", "score", "runs"), [(0.25, 0.4, 0), (0.35, 0.567, 1), (0.55, 0.567, 1), (0.65, None, 0)]
)
def test_the_threshold_decides_what_the_third_must_reach(
    threshold: float, score: float | None, runs: int
) -> None:
    assert verified(0.4, 0.4, 0.9, threshold) == (score, runs)
