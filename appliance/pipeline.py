"""One frame through perception: search, tracker, aligner, quality, classifier."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from appliance.values import NOT_ANALYSED, Box, Consent, Face, Frame, Image, Look, Person, Reading, Stamps
from appliance.vision.detection.search import Search
from appliance.vision.detection.select_faces import chosen
from appliance.vision.expression.classifier import Classifier, both_ways
from appliance.vision.expression.quality import Limits, unreadable
from appliance.vision.expression.smoothing import Smoother
from appliance.vision.motion.frame_pair import View, Views
from appliance.vision.motion.head_pose import pose_of
from appliance.vision.motion.movement import Mover
from appliance.vision.motion.scene_cuts import CutDetector
from appliance.vision.tracking.consent_slots import Places
from appliance.vision.tracking.tracker import Tracker


@dataclass(frozen=True)
class Doubt:
    """How much is claimed: smoothing in seconds, the least top score, and what cannot be read."""

    smoothing_s: float = 0.8
    unsure_below: float = 0.0
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class _Followed:
    """What is kept of one person from frame to frame."""

    smoother: Smoother
    mover: Mover


NOT_AGREED = Look(None, "not_agreed")
"""The look of a face that nobody looked at."""


class Pipeline:
    """Frame in, reading out. Belongs to one thread, as its engines do."""

    def __init__(
        self,
        search: Search,
        classifier: Classifier,
        tracker: Tracker,
        doubt: Doubt,
        *,
        max_people: int,
        is_film: bool = True,
    ) -> None:
        """`is_film`: frames may be cut together; false for a camera that shows a room as it is."""
        self._search = search
        self._classifier = classifier
        self._tracker = tracker
        self._doubt = doubt
        self._max_people = max_people
        self._cuts = CutDetector() if is_film else None
        self._views = Views()
        self._followed: dict[int, _Followed] = {}
        self._places: Places | None = None

    def bound(self, consent: Consent | None) -> None:
        """From the next frame on only people who consented are analysed; None: everyone."""
        if consent != (self._places and self._places.consent):
            self._places = Places(consent) if consent else None

    def read(self, frame: Frame, skipped: int = 0) -> Reading:
        """Everybody in the next frame of a video; of more than `max_people` see `vision.choice`."""
        now = frame.captured
        self.pass_over(frame)
        expected = self._tracker.expected(now)
        seen = self._search.find_next(frame.image, expected, now)
        # Newcomers are numbered from left to right.
        faces = sorted(chosen(seen, expected, self._max_people), key=lambda face: face.box.x)
        numbers = self._tracker.update(faces, now)
        detected = time.monotonic()
        self._followed = {number: self._followed.get(number) or self._new() for number in self._tracker.known}
        view = self._views.see(frame.image, [face.box for face in faces], now)
        found = dict(zip(numbers, faces, strict=True))
        analysed = self._with_places(found, frame)
        people = [
            self._person(number, face, frame, view)
            if number in analysed
            else Person(number, face, NOT_AGREED, None, NOT_ANALYSED)
            for number, face in sorted(found.items())
        ]
        beyond = len(seen) - len(faces) + self._search.beyond_limit
        return Reading(frame, tuple(people), Stamps(now, detected, time.monotonic()), skipped, beyond)

    def pass_over(self, frame: Frame) -> None:
        """A frame of a video that need not be read: after a cut everybody is a newcomer all the same."""
        if self._cuts and self._cuts.is_cut(frame.image, frame.captured):
            self._begin_take()

    def read_still(self, image: Image) -> Reading:
        """Everyone in a picture that stands alone: all of it is searched, nothing is carried over.

        `max_people` does not apply: no next frame is waiting.
        """
        faces = sorted(self._search.find_all(image), key=lambda face: face.box.x)
        return self._alone(
            image, [(face, self._look(image, face, self._doubt.limits, still=True)) for face in faces]
        )

    def read_crop(self, image: Image) -> Reading:
        """The person in a picture that is one face already cut out: always scored, however bad it is."""
        # Somebody else found the face: its score is 1 by definition.
        face = Face(Box(0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0)
        return self._alone(image, [(face, Look(self._classifier.read(*both_ways(image)).scores))])

    def reset(self) -> None:
        """Forget everybody: another film, another consent."""
        self._search.reset()
        self._tracker.reset()
        self._views.reset()
        self._followed = {}
        self._places = Places(self._places.consent) if self._places else None
        if self._cuts:
            self._cuts.reset()

    def close(self) -> None:
        """Let the engines go."""
        self._search.close()
        self._classifier.close()

    def _begin_take(self) -> None:
        """After a cut everybody in view is a newcomer: with a new number, and nothing is carried over."""
        self._search.reset()
        self._tracker.forget()
        self._views.reset()

    def _alone(self, image: Image, looks: list[tuple[Face, Look]]) -> Reading:
        people = []
        for number, (face, look) in enumerate(looks, 1):
            smoothed, label = self._new().smoother.add(look, 0.0)
            people.append(Person(number, face, look, smoothed, label))
        return Reading(Frame(0, 0.0, image), tuple(people), Stamps(0.0, 0.0, 0.0))

    def _with_places(self, found: dict[int, Face], frame: Frame) -> frozenset[int]:
        """The numbers of those who may be analysed."""
        if self._places is None:
            return frozenset(found)
        boxes = {number: face.box for number, face in found.items()}
        size = frame.width, frame.height
        return self._places.take(boxes, self._tracker.known, size, frame.captured)

    def _new(self) -> _Followed:
        doubt = self._doubt
        return _Followed(Smoother(smoothing_s=doubt.smoothing_s, unsure_below=doubt.unsure_below), Mover())

    def _person(self, number: int, face: Face, frame: Frame, view: View) -> Person:
        followed = self._followed[number]
        limits = self._doubt.limits
        look = self._look(frame.image, face, limits.loosened() if followed.smoother.readable else limits)
        smoothed, label = followed.smoother.add(look, frame.captured)
        movement = followed.mover.add(view, face, look.pose, frame.captured)
        return Person(number, face, look, smoothed, label, movement)

    def _look(self, image: Image, face: Face, limits: Limits, *, still: bool = False) -> Look:
        pose, crop = pose_of(face), self._classifier.crop(image, face)
        # A video's frames are averaged over time; a picture that stands alone is looked at in two ways.
        read = self._classifier.read(*(both_ways(crop) if still else (crop,)))
        reason = unreadable(face, pose, crop, limits, read.covered)
        return Look(None if reason else read.scores, reason, pose)
