"""One frame through perception: detector, aligner, classifier, tracker. The product in a dozen lines."""

from __future__ import annotations

import time

from appliance.values import Frame, Reading, Stamps
from appliance.vision.blazeface import BlazeFace
from appliance.vision.emotion import Classifier
from appliance.vision.tracker import Tracker


class Pipeline:
    """Frame in, reading out. Belongs to one thread, as its engines do."""

    def __init__(
        self, detector: BlazeFace, classifier: Classifier, tracker: Tracker, *, max_people: int
    ) -> None:
        self.detector = detector
        self._classifier = classifier
        self._tracker = tracker
        self._max_people = max_people

    def read(self, frame: Frame, skipped: int = 0) -> Reading:
        """Everybody in one frame; of more than `max_people` faces the largest are read."""
        faces = self.detector.find(frame.image)
        largest = sorted(faces, key=lambda face: -face.box.area)[: self._max_people]
        faces = sorted(largest, key=lambda face: face.box.x)  # newcomers are numbered from left to right
        detected = time.monotonic()
        scores = [self._classifier.read(frame.image, face) for face in faces]
        people = self._tracker.update(faces, scores, frame.captured)
        return Reading(frame, people, Stamps(frame.captured, detected, time.monotonic()), skipped)

    def reset(self) -> None:
        """Forget everybody: another picture, another film, another agreement."""
        self._tracker.reset()

    def close(self) -> None:
        """Let the engines go."""
        self.detector.close()
        self._classifier.close()
