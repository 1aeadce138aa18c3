"""Two detectors for a face: a wide one that scans, and a close one that verifies a single place."""

from __future__ import annotations

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.nms import is_same_face
from appliance.vision.detection.regions import Region, face_widths_apart, is_reachable, square_around

SCAN_SCORE = 0.2
"""Lowest score in a scan: low, because two more detections verify each candidate."""

VOTES = 3
"""Detections that decide together: a scan, a close and a wide one."""

DOUBTFUL, HIGHEST_IN_DOUBT = 0.7, 0.8
"""If a scan and a close detection have a lower sum than this, the wide one scores at most this: the highest
measured was 0.77 (docs/decisions/0095)."""

FAINT_SCORE = 0.05
"""Lowest score of a verifying detection; a lower one counts as no detection."""

CLOSE_CROP, WIDE_CROP = 1.6, 2.5
"""Side of the verifier's and of the detector's crop in sides of the face's box, as in their training."""

TRACK_CROP = 2.0
"""Side of the verifier's crop around a face that may have moved since the last frame, in sides of its box."""

KEEP = 0.6
"""A tracked face counts as seen if its score is at least this share of the threshold (0.3 of 0.5)."""

_DISTANCE_PENALTY = 0.5
"""The extra score that a face needs for each face width between it and its expected place."""


class DetectorCascade:
    """The scanning detector and the verifier. All boxes are in pixels of the full picture.

    Holds engines, so use it from one thread only.
    """

    def __init__(self, detector: BlazeFace, verifier: BlazeFace) -> None:
        self._detector = detector
        self._verifier = verifier

    @property
    def threshold(self) -> float:
        """Lowest mean score of a face, 0 to 1."""
        return self._detector.threshold

    def scan(self, image: Image, region: Region) -> list[Face]:
        """Possible faces in a region of a blue-green-red picture, except those cut by its inner edges."""
        found = _detect(self._detector, image, region, SCAN_SCORE)
        return [face for face in found if not region.cuts(face.box, _size(image))]

    def detect_wide(self, image: Image, place: Box) -> Face | None:
        """The face that the detector sees at `place`, with its surroundings; None if there is none."""
        return _detect_at(self._detector, image, place, WIDE_CROP)

    def detect_close(self, image: Image, place: Box) -> Face | None:
        """The face that the verifier sees at `place`; None if there is none."""
        return _detect_at(self._verifier, image, place, CLOSE_CROP)

    def redetect(
        self, image: Image, place: Box, *, wide: bool, verifier: BlazeFace | None = None
    ) -> Face | None:
        """A tracked face that should be at `place`, with room for movement; `wide`: by the detector.

        `verifier`: that of another thread, which may then call this at the same time.
        """
        close = verifier or self._verifier
        detector, factor = (self._detector, WIDE_CROP) if wide else (close, TRACK_CROP)
        near = _detect_around(detector, image, place, factor, KEEP * self.threshold)
        found = [face for face in near if is_reachable(face.box, place)]
        return max(
            found,
            key=lambda face: face.score - _DISTANCE_PENALTY * face_widths_apart(face.box, place),
            default=None,
        )

    def verify(self, image: Image, found: Face) -> Face | None:
        """A candidate, verified by both detectors; None if their mean score is below the threshold.

        If two detections already decide, the third is not made, and the score is the mean of the two.
        """
        close = self.detect_close(image, found.box)
        both = found.score + (close.score if close else 0.0)
        highest = 1.0 if both >= DOUBTFUL else HIGHEST_IN_DOUBT
        if both + highest < VOTES * self.threshold:
            return None
        if close and both >= VOTES * self.threshold:
            return Face(close.box, both / 2, close.keypoints)
        return consensus(found, close, self.detect_wide(image, found.box), self.threshold)

    def close(self) -> None:
        """Release the engines."""
        self._detector.close()
        if self._verifier is not self._detector:
            self._verifier.close()


def mean_score(*votes: Face | None, missing: float = 0.0) -> float:
    """Mean score of three detections; None counts 0, and those not yet made count `missing`."""
    scores = [vote.score if vote else 0.0 for vote in votes]
    return (sum(scores) + missing * (VOTES - len(scores))) / VOTES


def consensus(found: Face, close: Face | None, wide: Face | None, threshold: float) -> Face | None:
    """The face of three detections, with their mean score and the box of the closest that saw it.

    None if the mean score is below `threshold`.
    """
    score = mean_score(found, close, wide)
    seen = close or wide or found
    return Face(seen.box, score, seen.keypoints) if score >= threshold else None


def _detect_at(detector: BlazeFace, image: Image, place: Box, factor: float) -> Face | None:
    found = [
        face
        for face in _detect_around(detector, image, place, factor, FAINT_SCORE)
        if is_same_face(face.box, place)
    ]
    return max(found, key=lambda face: face.score, default=None)


def _detect_around(
    detector: BlazeFace, image: Image, place: Box, factor: float, threshold: float
) -> list[Face]:
    region = square_around(place, factor, _size(image))
    return _detect(detector, image, region, threshold) if region else []


def _detect(detector: BlazeFace, image: Image, region: Region, threshold: float) -> list[Face]:
    return [_in_picture(face, region) for face in detector.find(region.of(image), threshold)]


def _in_picture(face: Face, region: Region) -> Face:
    """Convert a face from pixels of a region to pixels of the full picture."""
    left, top = region.left, region.top
    points = tuple((x + left, y + top) for x, y in face.keypoints)
    return Face(face.box.moved(left, top), face.score, points)


def _size(image: Image) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[0])
