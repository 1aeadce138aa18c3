"""Face search in video at about two detector runs a frame.

In each frame one detector looks where each tracked face should be, unless the face rests. A frame also has
one turn (two if no face is tracked) for the most urgent work: a face that was missed, a recheck by the other
detector, the verification of a candidate, or a scan of the next part of the picture. See
docs/decisions/0006-search.md.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np

from appliance.values import Box, Face, Image
from appliance.vision.detection.cascade import DetectorCascade, consensus, mean_score
from appliance.vision.detection.face_models import FaceModels, FaceWorkers
from appliance.vision.detection.nms import is_same_face
from appliance.vision.detection.regions import (
    MAX_SIZE_RATIO,
    Region,
    face_widths_apart,
    is_reachable,
    is_same_size,
    size_ratio,
    squares,
    tiles,
    whole,
)
from appliance.vision.detection.select_faces import TRACKED_WEIGHT, select_faces

_SHOW = 0.84
"""A face is shown while its average score is at least this share of the threshold (0.42 of 0.5)."""

_SCORE_GAIN = 0.4
"""Weight of a new score in a detector's running average."""

_WIDE_WEIGHT = 2 / 3
"""Weight of the detector that sees a face with its surroundings: it is harder to fool."""

_FIRST_RECHECK, _LAST_RECHECK = 2, 16
"""Detections from the first sight to the other detector's recheck, and the most between two rechecks."""

_RESIZED = 1.3
"""A face is rechecked once it is this many times larger or smaller than when it was confirmed."""

_MAX_MATCH_DISTANCE = 2.0
"""A tracked face and an expected box further apart than this many face widths do not match."""

_MAX_TURNS_WITHOUT_SCAN = 2
"""The most turns in a row without a scan: newcomers are found even while a tracked face is hard to see."""

_REST_EVERY = 6
"""While a face is tracked, one frame in this many has no scan if nothing is urgent: a scan is expensive.
With one in three a newcomer of 4 % was found after 1.2 s in one of 30 videos at 15 frames a second."""

_SCANS_PER_S = 12.5
"""The most scans a second while a face is tracked: as many at 30 frames a second as at 15, and newcomers are
found equally early."""

_MAX_CANDIDATES = 4

_SUPPRESS_FRAMES = 12
"""Frames for which a rejected place is not verified again."""

_BEYOND_FRAMES = 45
"""Frames for which a face beyond the limit counts; a cycle of scans, which sees it again, is shorter."""

_RECOVERY_PAUSE = 3
"""Frames between two attempts to recover a lost face."""

_UNTRACKED_FRAMES = 5
"""Frames for which a missed face is kept if the tracker does not wait for it."""

_SCENE_CHANGE = 28.0
"""Mean change of the entire picture, in grey levels, after a cut; a pan or a lamp stays below."""

_THUMBNAIL = 48, 27
"""Width and height of the copies of two frames that are compared."""

_FRAMES_BETWEEN_CUTS = 8
"""At least this many frames between cuts: a flickering light must not cost a recheck in each frame."""


class TokenBucket:
    """Limits how often something is done a second, at any frame rate.

    At most two unused tokens are kept: a camera with fewer frames, which cannot spread its turns evenly, may
    use two in a row.
    """

    _CAPACITY = 2.0

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._tokens, self._now = self._CAPACITY, 0.0

    def refill(self, now: float) -> None:
        """Add the tokens for the time until `now`, in seconds; once a frame."""
        passed = max(0.0, now - self._now)
        self._tokens, self._now = min(self._CAPACITY, self._tokens + self._per_s * passed), now

    @property
    def available(self) -> bool:
        """Whether there is a token."""
        return self._tokens >= 1.0 - 1e-6

    def spend(self) -> None:
        """Use a token, even if none is available."""
        self._tokens = max(0.0, self._tokens - 1.0)


@dataclass
class TrackState:
    """A face that was verified once. Boxes are in pixels of the picture.

    `face`: where it was last seen; `expected`: where it should be now. `close_score`, `wide_score`: running
    averages of each detector's scores. One detector runs in each frame: the one that last saw the face
    (`by_wide`); `confirmed`: the box that the other one last saw, which bounds the size. `tracked`: the
    tracker waits for it. `resting`: it need not be detected in this frame. `lost`: not shown until both
    detectors see it again; `hint`: what one of them saw meanwhile; `pause`: frames until the next attempt to
    recover it.
    """

    face: Face
    close_score: float
    wide_score: float
    by_wide: bool = False
    tracked: bool = False
    resting: bool = False
    seen: bool = True
    lost: bool = False
    missed: int = 0
    hint: Face | None = None
    pause: int = 0
    expected: Box = field(init=False)
    confirmed: Box = field(init=False)
    _recheck_interval: int = _FIRST_RECHECK
    _recheck_in: int = _FIRST_RECHECK

    def __post_init__(self) -> None:
        self.expected = self.confirmed = self.face.box

    @property
    def average(self) -> float:
        """Weighted average of both detectors' recent scores, 0 to 1."""
        return (1 - _WIDE_WEIGHT) * self.close_score + _WIDE_WEIGHT * self.wide_score

    @property
    def recheck_due(self) -> bool:
        """Whether the other detector should run: it is time, or the size has changed since it last ran."""
        return self.seen and (self._recheck_in <= 0 or size_ratio(self.face.box, self.confirmed) > _RESIZED)

    def allows_size(self, face: Face) -> bool:
        """Whether a face has a size that this one may have now.

        Without this bound a track could shrink from frame to frame to almost nothing.
        """
        return size_ratio(face.box, self.confirmed) <= MAX_SIZE_RATIO

    def matches(self, face: Face) -> bool:
        """Whether the other detector's face in the same frame is this one, not part of it."""
        return is_same_face(face.box, self.face.box) and is_same_size(face.box, self.face.box)

    def add_score(self, score: float, *, wide: bool) -> None:
        """Add one detector's score for this frame, 0 if it saw nothing."""
        if wide:
            self.wide_score += _SCORE_GAIN * (score - self.wide_score)
        else:
            self.close_score += _SCORE_GAIN * (score - self.close_score)

    def begin_frame(self) -> None:
        """Count down to the recheck and the recovery, and drop the hint of the last frame."""
        self._recheck_in -= 1
        self.pause -= 1
        self.hint = None

    def schedule_recheck(self) -> None:
        """Schedule the next recheck after twice as many detections as the last one."""
        self._recheck_interval = min(2 * self._recheck_interval, _LAST_RECHECK)
        self._recheck_in = self._recheck_interval

    def mark_seen(self, face: Face, *, wide: bool) -> None:
        """Set where the face is in this frame, and which detector saw it."""
        self.face, self.by_wide, self.seen, self.missed = face, wide, True, 0

    def mark_missed(self) -> None:
        """Note that the face was not seen in this frame."""
        self.seen, self.missed = False, self.missed + 1

    def mark_lost(self) -> None:
        """Show the face again only after detections that would verify a newcomer."""
        self.lost, self.by_wide, self.close_score, self.wide_score = True, False, 0.0, 0.0
        self.mark_missed()

    def recover(self, face: Face, close_score: float, wide_score: float) -> None:
        """Show a lost face again: both detectors saw it with sufficient scores."""
        self.lost, self.close_score, self.wide_score = False, close_score, wide_score
        self._recheck_interval = self._recheck_in = _FIRST_RECHECK
        self.mark_seen(face, wide=False)
        self.confirmed = face.box


@dataclass(frozen=True)
class Candidate:
    """A face found by a scan and, after the first verification, what the wide detector saw there."""

    found: Face
    wide: Face | None = None

    @property
    def box(self) -> Box:
        """Where it was last seen."""
        return self.wide.box if self.wide else self.found.box


@dataclass
class SuppressedBox:
    """A place that is not verified for some `frames`: not a face, or one beyond the limit."""

    box: Box
    frames: int


class VideoSearch:
    """The search in one video. `size`: (width, height) of its frames in pixels."""

    def __init__(
        self,
        cascade: DetectorCascade,
        size: tuple[int, int],
        limit: int,
        workers: FaceWorkers | None = None,
    ) -> None:
        """`limit`: how many faces are tracked; `workers`: who detects them, by default this thread."""
        self.size = size
        self._cascade = cascade
        self._limit, self._workers = limit, workers
        self._parts = _scan_cycle(size)
        self._part = 0
        self._tracks: list[TrackState] = []
        self._candidates: list[Candidate] = []
        self._rejected: list[SuppressedBox] = []
        self._beyond: list[SuppressedBox] = []
        self._turns_without_scan = 0
        self._frame = 0
        self._scene = _SceneChange()
        self._scan_budget = TokenBucket(_SCANS_PER_S)

    def start(self, image: Image, faces: Sequence[Face], beyond: Sequence[Face]) -> list[Face]:
        """Start with the faces of the first frame; `beyond`: unverified candidates beyond the limit."""
        self._scene.has_changed(image)
        self._beyond = [SuppressedBox(face.box, _BEYOND_FRAMES) for face in beyond]
        self._tracks = [
            TrackState(face, face.score, face.score) for face in select_faces(faces, (), self._limit)
        ]
        return list(faces)

    def step(
        self, image: Image, expected: Sequence[Box], now: float, resting: Collection[int] = ()
    ) -> list[Face]:
        """The faces in the next frame, at `now` seconds; `expected`: where the tracker expects faces.

        `resting`: indices of `expected`; these faces stay as they are, unless they are in doubt.
        """
        self._scan_budget.refill(now)
        self._predict(expected, resting)
        is_cut = self._scene.has_changed(image)
        self._redetect(image)
        if is_cut:
            for track in self._tracks:
                self._verify_after_cut(track, image)
        self._separate_twins()
        for _ in range(1 if self._tracks else 2):
            self._take_turn(image)
        self._frame += 1
        self._end_frame(expected)
        return [track.face for track in self._tracks if track.seen]

    @property
    def beyond_limit(self) -> int:
        """How many faces are in view but not tracked, because others are larger or came first."""
        return len(self._beyond)

    def _predict(self, expected: Sequence[Box], resting: Collection[int]) -> None:
        """Set where each face should be, and drop those that the tracker gave up."""
        matches = match_tracks(self._tracks, expected)
        kept = []
        for index, track in enumerate(self._tracks):
            if index in matches:
                track.expected, track.tracked = expected[matches[index]], True
                track.resting = matches[index] in resting
            elif not track.seen and (track.tracked or track.missed > _UNTRACKED_FRAMES):
                continue
            kept.append(track)
        self._tracks = kept

    # --- tracked faces ---

    def _redetect(self, image: Image) -> None:
        due = [track for track in self._tracks if not self._rests(track)]
        for track, face in zip(due, self._detect_all(due, image), strict=True):
            track.begin_frame()
            track.add_score(face.score if face else 0.0, wide=track.by_wide)
            if face and not track.lost:
                track.mark_seen(face, wide=track.by_wide)
                continue
            track.mark_missed()
            track.hint = face

    def _rests(self, track: TrackState) -> bool:
        doubtful = not track.seen or track.lost or track.average < self._cascade.threshold
        return track.resting and not doubtful

    def _detect_all(self, tracks: Sequence[TrackState], image: Image) -> list[Face | None]:
        """What the detector that last saw each face sees of it now."""
        if self._workers is None:
            return [self._detect(track, image, wide=track.by_wide) for track in tracks]
        # There is only one wide detector.
        close = [index for index, track in enumerate(tracks) if not track.by_wide]
        found = dict(
            zip(
                close,
                self._workers.map(
                    lambda models, index: self._detect(tracks[index], image, wide=False, models=models), close
                ),
                strict=True,
            )
        )
        return [
            found[index] if index in found else self._detect(track, image, wide=True)
            for index, track in enumerate(tracks)
        ]

    def _detect(
        self, track: TrackState, image: Image, *, wide: bool, models: FaceModels | None = None
    ) -> Face | None:
        """What one detector sees of a tracked face, if its size is plausible."""
        verifier = models.verifier if models else None
        face = self._cascade.redetect(image, track.expected, wide=wide, verifier=verifier)
        return face if face and (track.lost or track.allows_size(face)) else None

    def _recheck(self, track: TrackState, image: Image) -> None:
        """Run the other detector on a missed face, or on a shown one for a second opinion."""
        wide = not track.by_wide
        face = self._detect(track, image, wide=wide)
        if face and track.seen and not track.matches(face):
            face = None  # another face, or part of this one
        track.add_score(face.score if face else 0.0, wide=wide)
        if face:
            track.confirmed = face.box
        # The close detector is cheaper: return to it as soon as it sees the face.
        if face and not (track.seen and wide) and not self._is_taken(face, track):
            track.mark_seen(face, wide=wide)
        track.schedule_recheck()

    def _recover(self, track: TrackState, image: Image) -> None:
        """Recover a lost face if the wide detector confirms the hint."""
        hint = track.hint
        assert hint is not None
        wide = self._cascade.detect_wide(image, hint.box)
        score = (hint.score + wide.score) / 2 if wide else 0.0
        if wide and is_same_size(hint.box, wide.box) and score >= self._cascade.threshold:
            track.recover(hint, hint.score, wide.score)
        track.hint, track.pause = None, _RECOVERY_PAUSE

    def _verify_after_cut(self, track: TrackState, image: Image) -> None:
        """After a cut another person, or an object, may be where the face was."""
        if track.seen:
            track.close_score = track.wide_score = 0.0
            close = self._cascade.detect_close(image, track.face.box)
            wide = self._cascade.detect_wide(image, track.face.box)
            if (
                close
                and wide
                and is_same_size(close.box, wide.box)
                and (close.score + wide.score) / 2 >= self._cascade.threshold
            ):
                track.recover(close, close.score, wide.score)
                return
        track.mark_lost()

    def _separate_twins(self) -> None:
        """If two tracks are on one face, only the one expected nearer keeps it."""
        seen = [track for track in self._tracks if track.seen]
        for one, other in itertools.combinations(seen, 2):
            if one.seen and other.seen and is_same_face(one.face.box, other.face.box):
                apart = [face_widths_apart(track.face.box, track.expected) for track in (one, other)]
                (one if apart[0] > apart[1] else other).mark_lost()

    def _is_taken(self, face: Face, by_other_than: TrackState) -> bool:
        others = (other for other in self._tracks if other.seen and other is not by_other_than)
        return any(is_same_face(face.box, other.face.box) for other in others)

    # --- the turn of a frame ---

    def _take_turn(self, image: Image) -> None:
        work = None if self._turns_without_scan >= _MAX_TURNS_WITHOUT_SCAN else self._urgent_work()
        if work is not None:
            self._turns_without_scan += 1
            work(image)
        elif self._tracks and self._frame % _REST_EVERY == 0:
            return
        else:
            self._turns_without_scan = 0
            if self._scan_budget.available or not self._tracks:
                self._scan(image)
                self._scan_budget.spend()

    def _urgent_work(self) -> Callable[[Image], None] | None:
        for track in self._tracks:
            if track.hint and track.pause <= 0 and not self._is_taken(track.hint, track):
                return partial(self._recover, track)
        for track in self._tracks:
            if not (track.seen or track.lost) or track.recheck_due:
                return partial(self._recheck, track)
        return partial(self._verify, self._candidates.pop(0)) if self._candidates else None

    def _scan(self, image: Image) -> None:
        """Scan the next part of the picture and add new faces in it to the candidates."""
        region = self._parts[self._part % len(self._parts)]
        self._part += 1
        taken = [track.face.box for track in self._tracks if not track.lost]
        taken += [rejected.box for rejected in self._rejected]
        for face in self._cascade.scan(image, region):
            known = taken + [candidate.box for candidate in self._candidates]
            if not any(is_same_face(face.box, box) for box in known) and not self._is_beyond(face):
                self._candidates.append(Candidate(face))
        self._candidates = self._candidates[:_MAX_CANDIDATES]

    def _is_beyond(self, face: Face) -> bool:
        """Whether a candidate is beyond the limit; it is counted if its score reaches the threshold."""
        smallest = min((track.face.box.area for track in self._tracks), default=0.0)
        if len(self._tracks) < self._limit or face.box.area > TRACKED_WEIGHT * smallest:
            return False
        before = next((beyond for beyond in self._beyond if is_same_face(face.box, beyond.box)), None)
        if before:
            before.box, before.frames = face.box, _BEYOND_FRAMES
        elif face.score >= self._cascade.threshold:
            self._beyond.append(SuppressedBox(face.box, _BEYOND_FRAMES))
        return True

    def _verify(self, candidate: Candidate, image: Image) -> None:
        """One step of a verification: the wide detector first, the close one at the next turn."""
        found, wide, threshold = candidate.found, candidate.wide, self._cascade.threshold
        if wide is None:
            wide = self._cascade.detect_wide(image, found.box)
            if wide and mean_score(found, wide, missing=1.0) >= threshold:
                self._candidates.insert(0, Candidate(found, wide))
                return
        else:
            close = self._cascade.detect_close(image, wide.box)
            face = consensus(found, close, wide, threshold)
            if face and not any(
                track.seen and is_same_face(face.box, track.face.box) for track in self._tracks
            ):
                self._accept(face, close.score if close else 0.0, wide.score)
                return
        self._rejected.append(SuppressedBox(candidate.box, _SUPPRESS_FRAMES))

    def _accept(self, face: Face, close_score: float, wide_score: float) -> None:
        """Track a newcomer, or recover a lost face that is back."""
        for track in self._tracks:
            if track.lost and is_reachable(face.box, track.expected):
                track.recover(face, close_score, wide_score)
                return
        self._tracks.append(TrackState(face, close_score, wide_score))

    def _end_frame(self, expected: Sequence[Box]) -> None:
        """Drop doubtful faces, faces beyond the limit, and expired suppressed places."""
        for track in self._tracks:
            if not track.lost and track.average < _SHOW * self._cascade.threshold:
                track.mark_lost()
        if len(self._tracks) > self._limit:
            kept = select_faces([track.face for track in self._tracks], expected, self._limit)
            left_out = [track.face.box for track in self._tracks if track.face not in kept]
            self._tracks = [track for track in self._tracks if track.face in kept]
            self._beyond += [SuppressedBox(box, _BEYOND_FRAMES) for box in left_out]
        self._rejected = _count_down(self._rejected)
        seen = [track.face.box for track in self._tracks if track.seen]
        self._beyond = [
            beyond
            for beyond in _count_down(self._beyond)
            if not any(is_same_face(beyond.box, box) for box in seen)
        ]


class _SceneChange:
    """Detects a hard cut between two frames by small copies of them.

    Coarser and cheaper than `motion.scene_cuts`: a false alarm only costs a verification of each face.
    """

    def __init__(self) -> None:
        self._last: Image | None = None
        self._frames_since = 0

    def has_changed(self, image: Image) -> bool:
        """Whether this frame shows another scene than the last one."""
        small = np.asarray(cv2.resize(image, _THUMBNAIL, interpolation=cv2.INTER_LINEAR), np.uint8)
        last, self._last, self._frames_since = self._last, small, self._frames_since + 1
        if (
            last is None
            or self._frames_since < _FRAMES_BETWEEN_CUTS
            or _mean_change(small, last) < _SCENE_CHANGE
        ):
            return False
        self._frames_since = 0
        return True


def match_tracks(tracks: Sequence[TrackState], expected: Sequence[Box]) -> dict[int, int]:
    """Match tracks and expected boxes, the nearest pairs first: index of a track to index of a box."""
    pairs = sorted(
        (face_widths_apart(box, track.expected), index, number)
        for index, track in enumerate(tracks)
        for number, box in enumerate(expected)
    )
    matches: dict[int, int] = {}
    for apart, index, number in pairs:
        if apart <= _MAX_MATCH_DISTANCE and index not in matches and number not in matches.values():
            matches[index] = number
    return matches


def _mean_change(one: Image, other: Image) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _count_down(boxes: list[SuppressedBox]) -> list[SuppressedBox]:
    """The boxes that still count in the next frame."""
    for each in boxes:
        each.frames -= 1
    return [each for each in boxes if each.frames > 0]


def _scan_cycle(size: tuple[int, int]) -> list[Region]:
    """The parts that are scanned in turn: the full picture and its tiles, or squares if it has no tiles.

    Squares in addition to tiles would find little more and make each cycle longer.
    """
    return [whole(size), *(tiles(size) or squares(size))]
