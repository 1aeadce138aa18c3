"""Whether two engines read pictures alike, and by how much they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.values import Box, Reading

MIN_OVERLAP, MAX_SCORE, MAX_EXPRESSION = 0.8, 0.1, 0.1
"""What counts as alike: boxes overlap (intersection over union) at least so much, the detector's scores and
each of the seven expression scores differ by no more than so much (docs/decisions/0039)."""

Face = dict[str, list[float]]
"""A face as numbers: `box` in pixels, `score`, and `expression` (seven, or none when not readable)."""


@dataclass(frozen=True)
class Difference:
    """The worst of all faces in all pictures. `missing`: faces that only one of the two found."""

    faces: int
    missing: int
    overlap: float
    score: float
    expression: float

    @property
    def is_small(self) -> bool:
        """Whether the two agree."""
        return (
            self.faces > 0
            and not self.missing
            and self.overlap >= MIN_OVERLAP
            and self.score <= MAX_SCORE
            and self.expression <= MAX_EXPRESSION
        )

    def __str__(self) -> str:
        missing = f"{self.missing} faces found by one only, " if self.missing else ""
        return (
            f"{missing}overlap {self.overlap:.2f} or more, score within {self.score:.3f},"
            f" expression within {self.expression:.3f}, {self.faces} faces"
        )


def faces_of(reading: Reading) -> list[Face]:
    """The people of a reading as numbers."""
    return [
        {
            "box": [person.face.box.x, person.face.box.y, person.face.box.width, person.face.box.height],
            "score": [person.face.score],
            "expression": list(person.expression.scores.values) if person.expression.scores else [],
        }
        for person in reading.people
    ]


def difference(wanted: Sequence[Sequence[Face]], found: Sequence[Sequence[Face]]) -> Difference:
    """Compare two engines' faces in the same pictures."""
    faces = missing = 0
    overlap, score, expression = 1.0, 0.0, 0.0
    for ours, theirs in zip(wanted, found, strict=True):
        rest = list(theirs)
        for face in ours:
            faces += 1
            twin = max(rest, key=lambda other: _overlap(face, other), default=None)
            if twin is None or _overlap(face, twin) <= 0 or _readable(face) != _readable(twin):
                missing += 1
                continue
            rest.remove(twin)
            overlap = min(overlap, _overlap(face, twin))
            score = max(score, abs(face["score"][0] - twin["score"][0]))
            apart = zip(face["expression"], twin["expression"], strict=True)
            expression = max([expression, *(abs(a - b) for a, b in apart)])
        missing += len(rest)
    return Difference(faces, missing, overlap, score, expression)


def _overlap(one: Face, other: Face) -> float:
    return Box(*one["box"]).iou(Box(*other["box"]))


def _readable(face: Face) -> bool:
    return bool(face["expression"])
