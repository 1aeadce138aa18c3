"""The perception pipeline: search, tracker, pose, classifier, quality, smoothing and movement."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from appliance.values import (
    NOT_ANALYSED,
    Box,
    Consent,
    ExpressionResult,
    Face,
    Frame,
    Image,
    Person,
    Reading,
    Scores,
    Stamps,
)
from appliance.vision.detection.face_models import FaceModels, FaceWorkers
from appliance.vision.detection.search import FaceSearch
from appliance.vision.detection.select_faces import select_faces
from appliance.vision.expression.baseline import PICTURES, Baseline, adjust_pictures
from appliance.vision.expression.classifier import ExpressionClassifier, with_mirror_image
from appliance.vision.expression.quality import QualityLimits, unreadable_reason
from appliance.vision.expression.smoothing import Smoother
from appliance.vision.motion.frame_pair import FramePair, FramePairBuilder
from appliance.vision.motion.head_pose import estimate_pose
from appliance.vision.motion.movement import MotionEstimator
from appliance.vision.motion.scene_cuts import CutDetector
from appliance.vision.tracking.cadence import Cadence, Look
from appliance.vision.tracking.consent_slots import ConsentSlots
from appliance.vision.tracking.tracker import Tracker


@dataclass(frozen=True)
class ReadingPolicy:
    """How much is claimed: smoothing time in seconds, minimum top score, quality limits."""

    smoothing_s: float = 0.8
    unsure_below: float = 0.0
    limits: QualityLimits = field(default_factory=QualityLimits)


@dataclass
class _PersonState:
    """The state of one person between frames; `last`: the result of the last frame."""

    smoother: Smoother
    motion: MotionEstimator
    baseline: Baseline | None
    last: Person | None = None


_FULL_SIZE_BELOW_PX = 64.0
"""Narrower faces of a shrunk frame are cropped from the full-size picture; wider ones have more pixels than
the classifier takes."""

NOT_AGREED = ExpressionResult(None, "not_agreed")
"""The result for a face without a consent slot: it never reaches the classifier."""


class Pipeline:
    """Frame in, reading out. Belongs to one thread, as its engines do."""

    def __init__(
        self,
        search: FaceSearch,
        classifier: ExpressionClassifier,
        tracker: Tracker,
        policy: ReadingPolicy,
        *,
        max_people: int,
        is_video: bool = True,
        every_frame: bool = True,
        workers: FaceWorkers | None = None,
    ) -> None:
        """`max_people`: most faces read in a frame; `is_video`: false for a camera, which has no cuts.

        `every_frame`: false reads a steady face less often (`tracking.cadence`), and carries its result on.
        `workers` share the faces of a frame, by default this thread has them all.
        """
        self._search = search
        self._classifier = classifier
        self._tracker = tracker
        self._policy = policy
        self._max_people, self._workers = max_people, workers
        self._cuts = CutDetector() if is_video else None
        self._cadence = None if every_frame else Cadence()
        self._frame_pairs = FramePairBuilder()
        self._states: dict[int, _PersonState] = {}
        self._slots: ConsentSlots | None = None

    def limit_to(self, consent: Consent | None) -> None:
        """Analyse only people who consented, from the next frame on; None: everyone."""
        if consent != (self._slots and self._slots.consent):
            self._slots = ConsentSlots(consent) if consent else None

    def read(self, frame: Frame, skipped: int = 0) -> Reading:
        """Read the next frame of a video; `select_faces` chooses if there are more than `max_people` faces.

        `skipped`: frames before it that were not read.
        """
        now = frame.captured
        self.skip(frame)
        expected = self._tracker.predict(now)
        looks = self._cadence.plan(frame.image, expected, now) if self._cadence else {}
        boxes = list(expected.values())
        resting = [index for index, id in enumerate(expected) if looks.get(id, Look.READ) is not Look.READ]
        found = self._search.find_next(frame.image, boxes, now, resting)
        # Newcomers are numbered from left to right.
        faces = sorted(select_faces(found, boxes, self._max_people), key=lambda face: face.box.x)
        ids = self._tracker.update(faces, now)
        detected = time.monotonic()
        self._states = {id: self._states.get(id) or self._new_state() for id in self._tracker.ids}
        people = self._read_people(dict(sorted(zip(ids, faces, strict=True))), frame, looks)
        beyond = len(found) - len(faces) + self._search.beyond_limit
        shown = tuple(person.scaled(frame.scale) for person in people)
        return Reading(frame, shown, Stamps(now, detected, time.monotonic()), skipped, beyond)

    def skip(self, frame: Frame) -> None:
        """Check an unread frame of a video for a cut: after it, every face is a newcomer."""
        if self._cuts and self._cuts.is_cut(frame.image, frame.captured):
            self._begin_take()

    def read_still(self, image: Image) -> Reading:
        """Read every face in a still picture, all of which is searched; nothing is carried over.

        `image`: uint8 blue-green-red, shape (height, width, 3). `max_people` does not apply: no next frame is
        waiting.
        """
        faces = sorted(self._search.find_all(image), key=lambda face: face.box.x)
        limits = self._policy.limits
        return self._single(
            image,
            [(face, self._classify(image, face, limits, self._classifier, still=True)) for face in faces],
        )

    def read_crop(self, image: Image) -> Reading:
        """Score a picture of one cropped face, grey or blue-green-red, whatever its quality."""
        # The face was detected elsewhere: its score is 1 by definition.
        face = Face(Box(0.0, 0.0, float(image.shape[1]), float(image.shape[0])), 1.0)
        scores = self._classifier.classify(*with_mirror_image(image)).scores
        return self._single(image, [(face, ExpressionResult(scores))])

    def as_one_person(self, readings: Sequence[Reading]) -> list[Reading]:
        """These readings of single pictures, read as pictures of one person: the largest face of each.

        A share of what the pictures have in common is subtracted. It uses no engine, so it may follow
        `close`.
        """
        rest = self._classifier.rest
        found = [_largest_readable(reading) for reading in readings]
        scores = [person.expression.scores for person in found if person and person.expression.scores]
        if rest is None or not scores:
            return list(readings)
        adjusted = iter(adjust_pictures(scores, rest))
        return [
            self._with_adjusted(reading, person, next(adjusted)) if person else reading
            for reading, person in zip(readings, found, strict=True)
        ]

    def take_baselines(self, now: float) -> None:
        """Take the baseline of everyone in view, from frames of the next `baseline.TAKE_S` seconds."""
        for state in self._states.values():
            if state.baseline:
                state.baseline.take(now)

    def reset(self, *, keep_ids: bool = False) -> None:
        """Start over: another video, another consent; `keep_ids`: after a pause no id is used again."""
        if self._workers:
            self._workers.prepare(0)
        self._search.reset()
        self._tracker.reset(keep_ids=keep_ids)
        self._frame_pairs.reset()
        self._states = {}
        self._slots = ConsentSlots(self._slots.consent) if self._slots else None
        if self._cadence:
            self._cadence.reset()
        if self._cuts:
            self._cuts.reset()

    def close(self) -> None:
        """Release the engines."""
        if self._workers:
            self._workers.close()
        self._search.close()
        self._classifier.close()

    def _begin_take(self) -> None:
        """After a cut every face is a newcomer with a new id, and nothing is carried over."""
        self._search.reset()
        self._tracker.end_tracks()
        self._frame_pairs.reset()

    def _single(self, image: Image, results: list[tuple[Face, ExpressionResult]]) -> Reading:
        people = []
        for id, (face, expression) in enumerate(results, 1):
            smoothed, label = self._new_state().smoother.add(expression, 0.0)
            people.append(Person(id, face, expression, smoothed, label))
        return Reading(Frame(0, 0.0, image), tuple(people), Stamps(0.0, 0.0, 0.0))

    def _with_adjusted(self, reading: Reading, person: Person, adjusted: Scores) -> Reading:
        expression = replace(person.expression, adjusted=adjusted, baseline=PICTURES)
        smoothed, label = self._new_state().smoother.add(expression, 0.0)
        changed = replace(person, expression=expression, smoothed=smoothed, label=label)
        return replace(reading, people=tuple(changed if each is person else each for each in reading.people))

    def _analysed(self, tracked: dict[int, Face], frame: Frame) -> frozenset[int]:
        """The track ids that may be analysed."""
        if self._slots is None:
            return frozenset(tracked)
        boxes = {id: face.box for id, face in tracked.items()}
        size = int(frame.image.shape[1]), int(frame.image.shape[0])
        return self._slots.assign(boxes, self._tracker.ids, size, frame.captured)

    def _new_state(self) -> _PersonState:
        policy, rest = self._policy, self._classifier.rest
        smoother = Smoother(smoothing_s=policy.smoothing_s, unsure_below=policy.unsure_below)
        return _PersonState(smoother, MotionEstimator(), Baseline(rest) if rest else None)

    def _read_people(self, tracked: dict[int, Face], frame: Frame, looks: Mapping[int, Look]) -> list[Person]:
        """Each tracked face with its result: of this frame, or carried on from the last one if it rests."""
        analysed = self._analysed(tracked, frame)
        # The search may have detected a face although it was to rest.
        carried = {
            id: person
            for id, face in tracked.items()
            if looks.get(id, Look.READ) is not Look.READ
            and (person := self._states[id].last) is not None
            and person.face == face
            and (person.expression is NOT_AGREED) == (id not in analysed)
        }
        resting = {id for id in carried if looks[id] is Look.REST}
        pair = None
        if not tracked or len(resting) < len(tracked):
            pair = self._frame_pairs.add(frame.image, [face.box for face in tracked.values()], frame.captured)
        people = {id: carried[id] for id in resting}
        for id in tracked.keys() - resting - analysed:
            people[id] = Person(id, tracked[id], NOT_AGREED, None, NOT_ANALYSED)
        due = [id for id in tracked if id in analysed and id not in resting]
        if due:
            assert pair is not None
            people.update(zip(due, self._read_each(due, tracked, frame, pair, carried), strict=True))
        for id, face in tracked.items():
            if id in resting:
                continue
            state = self._states[id]
            state.last = people[id]
            if self._cadence:
                steady = id not in analysed or state.smoother.steady
                detected = id not in carried
                self._cadence.add(id, face.box, frame.image, frame.captured, detected=detected, steady=steady)
        return [people[id] for id in tracked]

    def _read_each(
        self,
        ids: Sequence[int],
        tracked: Mapping[int, Face],
        frame: Frame,
        pair: FramePair,
        carried: Collection[int],
    ) -> list[Person]:
        def read(models: FaceModels | None, id: int) -> Person:
            classifier = models.classifier if models else self._classifier
            return self._read_person(id, tracked[id], frame, pair, classifier, detected=id not in carried)

        if self._workers is None:
            return [read(None, id) for id in ids]
        self._workers.prepare(len(tracked))
        return self._workers.map(read, ids)

    def _read_person(
        self,
        id: int,
        face: Face,
        frame: Frame,
        pair: FramePair,
        classifier: ExpressionClassifier,
        *,
        detected: bool,
    ) -> Person:
        """Read one person. Two threads may do this at the same time for different people."""
        state, limits = self._states[id], self._policy.limits
        limits = limits.relaxed() if state.smoother.readable else limits
        expression = self._classify(*_sharpest(frame, face), limits, classifier)
        if state.baseline:
            expression = _adjusted(expression, state.baseline)
        smoothed, label = state.smoother.add(expression, frame.captured)
        if state.baseline and expression.scores:
            calm = state.smoother.steady
            state.baseline.add(expression.scores, expression.pose, frame.captured, calm=calm)
        movement = state.motion.add(pair, face, expression.pose, frame.captured, detected=detected)
        return Person(id, face, expression, smoothed, label, movement)

    def _classify(
        self,
        image: Image,
        face: Face,
        limits: QualityLimits,
        classifier: ExpressionClassifier,
        *,
        still: bool = False,
    ) -> ExpressionResult:
        pose, crop = estimate_pose(face), classifier.crop(image, face)
        # A video is averaged over time, a still picture with its mirror image.
        output = classifier.classify(*(with_mirror_image(crop) if still else (crop,)))
        reason = unreadable_reason(face, pose, crop, limits, output.covered)
        return ExpressionResult(None if reason else output.scores, reason, pose)


def _adjusted(expression: ExpressionResult, baseline: Baseline) -> ExpressionResult:
    """The result of a frame with the person's baseline as it was before this frame."""
    if expression.scores is None:
        return replace(expression, baseline=baseline.kind)
    return replace(
        expression,
        adjusted=baseline.adjust(expression.scores),
        strength=baseline.strength,
        baseline=baseline.kind,
    )


def _largest_readable(reading: Reading) -> Person | None:
    readable = [person for person in reading.people if person.expression.scores]
    return max(readable, key=lambda person: person.face.box.area, default=None)


def _sharpest(frame: Frame, face: Face) -> tuple[Image, Face]:
    """The picture from which to crop a face, and the face in its pixels."""
    if frame.full_size is None or face.box.width >= _FULL_SIZE_BELOW_PX:
        return frame.image, face
    return frame.full_size(), face.scaled(frame.scale)
