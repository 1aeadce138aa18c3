"""Parity of two engines: whether they find the same faces with nearly the same scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.values import Box, Reading

MIN_OVERLAP, MAX_SCORE, MAX_EXPRESSION = 0.8, 0.1, 0.1
"""The tolerance: the minimum overlap of boxes (intersection over union), and the maximum differences of the
detector's score and of each of the seven expression scores (docs/decisions/0039)."""

FaceNumbers = dict[str, list[float]]
"""A face in numbers: `box` (x, y, width, height in pixels), `score` (one), `expression` (seven or empty)."""


@dataclass(frozen=True)
class Parity:
    """The worst differences over all faces and pictures. `missing`: faces that only one engine found."""

    faces: int
    missing: int
    overlap: float
    score: float
    expression: float

    @property
    def holds(self) -> bool:
        """Whether there was a face, and every difference is within the tolerance."""
        return (
            self.faces > 0
            and not self.missing
            and self.overlap >= MIN_OVERLAP
            and self.score <= MAX_SCORE
            and self.expression <= MAX_EXPRESSION
        )

    def __str__(self) -> str:
        missing = f"{self.missing} faces found by only one engine, " if self.missing else ""
        return (
            f"{missing}overlap at least {self.overlap:.2f}, score within {self.score:.3f},"
            f" expression within {self.expression:.3f}, {self.faces} faces"
        )


def face_numbers(reading: Reading) -> list[FaceNumbers]:
    """The faces of a reading in numbers, for JSON."""
    return [
        {
            "box": [person.face.box.x, person.face.box.y, person.face.box.width, person.face.box.height],
            "score": [person.face.score],
            "expression": list(person.expression.scores.values) if person.expression.scores else [],
        }
        for person in reading.people
    ]


def measure_parity(
    reference: Sequence[Sequence[FaceNumbers]], candidate: Sequence[Sequence[FaceNumbers]]
) -> Parity:
    """Compare the faces of two engines in the same pictures, picture by picture."""
    faces = missing = 0
    overlap, score, expression = 1.0, 0.0, 0.0
    for wanted, found in zip(reference, candidate, strict=True):
        rest = list(found)
        for face in wanted:
            faces += 1
            twin = max(rest, key=lambda other: _overlap(face, other), default=None)
            if twin is None or _overlap(face, twin) <= 0 or _has_expression(face) != _has_expression(twin):
                missing += 1
                continue
            rest.remove(twin)
            overlap = min(overlap, _overlap(face, twin))
            score = max(score, abs(face["score"][0] - twin["score"][0]))
            pairs = zip(face["expression"], twin["expression"], strict=True)
            expression = max([expression, *(abs(a - b) for a, b in pairs)])
        missing += len(rest)
    return Parity(faces, missing, overlap, score, expression)


def _overlap(one: FaceNumbers, other: FaceNumbers) -> float:
    return Box(*one["box"]).iou(Box(*other["box"]))


def _has_expression(face: FaceNumbers) -> bool:
    return bool(face["expression"])
