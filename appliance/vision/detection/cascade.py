"""Looking at parts of a picture with two detectors: one that scans, one that looks closely at one place."""

from __future__ import annotations

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.candidates import KEEP, belongs, distance
from appliance.vision.detection.nms import same_face
from appliance.vision.detection.regions import Region, square_round

SCAN = 0.2
"""The least score of a scan: low, since every find is looked at twice more."""

LOOKS = 3
"""A scan and two closer looks decide together."""

FAINT = 0.05
"""The least score of a close look; what scores less counts as nothing."""

CLOSE, WIDE = 1.6, 2.5
"""Sides of the verifier's and of the detector's square in box sides: what each of them was trained to see."""

FOLLOW = 2.0
"""Side of the verifier's square round somebody who may have moved since the last frame."""

_STRAYING = 0.5
"""A face one width off its place must score this much more than one that is there."""


class Looks:
    """The two detectors. All boxes are in pixels of the whole picture. Belongs to one thread."""

    def __init__(self, detector: BlazeFace, verifier: BlazeFace) -> None:
        self._detector = detector
        self._verifier = verifier

    @property
    def threshold(self) -> float:
        """The least mean score of a face."""
        return self._detector.threshold

    def scan(self, image: Image, region: Region) -> list[Face]:
        """Whatever might be a face in a region, without those that its inner edges cut through."""
        found = _find(self._detector, image, region, SCAN)
        return [face for face in found if not region.cuts(face.box, _size(image))]

    def wide(self, image: Image, place: Box) -> Face | None:
        """The face at a place as the detector sees it with its surroundings."""
        return _nearest(self._detector, image, place, WIDE)

    def close(self, image: Image, place: Box) -> Face | None:
        """The face at a place as the verifier sees it."""
        return _nearest(self._verifier, image, place, CLOSE)

    def follow(self, image: Image, place: Box, *, wide: bool) -> Face | None:
        """The face of somebody who should be at a place, by one of the two, with room to have moved."""
        detector, factor = (self._detector, WIDE) if wide else (self._verifier, FOLLOW)
        near = _round(detector, image, place, factor, KEEP * self.threshold)
        found = [face for face in near if belongs(face.box, place)]
        return max(found, key=lambda face: face.score - _STRAYING * distance(face.box, place), default=None)

    def second(self, image: Image, found: Face) -> Face | None:
        """What a scan found, looked at by both; None unless the three looks are sure enough of it."""
        close = self.close(image, found.box)
        if mean_score(found, close, surest=1.0) < self.threshold:
            return None  # Not even the surest look could make up for it.
        return agreed(found, close, self.wide(image, found.box), self.threshold)

    def shut(self) -> None:
        """Let the engines go."""
        self._detector.close()
        if self._verifier is not self._detector:
            self._verifier.close()


def mean_score(*looks: Face | None, surest: float = 0.0) -> float:
    """The mean score of three looks; one that saw nothing counts 0, those still to come count `surest`."""
    scores = [look.score if look else 0.0 for look in looks]
    return (sum(scores) + surest * (LOOKS - len(scores))) / LOOKS


def agreed(found: Face, close: Face | None, wide: Face | None, least: float) -> Face | None:
    """The face of three looks with at least this mean score, placed by the closest look that saw it."""
    score = mean_score(found, close, wide)
    seen = close or wide or found
    return Face(seen.box, score, seen.keypoints) if score >= least else None


def _nearest(detector: BlazeFace, image: Image, place: Box, factor: float) -> Face | None:
    found = [face for face in _round(detector, image, place, factor, FAINT) if same_face(face.box, place)]
    return max(found, key=lambda face: face.score, default=None)


def _round(detector: BlazeFace, image: Image, place: Box, factor: float, least: float) -> list[Face]:
    region = square_round(place, factor, _size(image))
    return _find(detector, image, region, least) if region else []


def _find(detector: BlazeFace, image: Image, region: Region, least: float) -> list[Face]:
    return [_moved(face, region) for face in detector.find(region.of(image), least)]


def _moved(face: Face, region: Region) -> Face:
    left, top = region.left, region.top
    points = tuple((x + left, y + top) for x, y in face.keypoints)
    return Face(face.box.moved(left, top), face.score, points)


def _size(image: Image) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[0])
