"""Video at about two runs a frame: one look at each person known, and one turn that scans or makes sure.

Each frame one detector looks at where each person should be. Beyond that a frame has one turn (two while
nobody is known) for what is most urgent: somebody who was not seen, a second opinion of somebody shown, a
closer look at what a scan found, or the next part of the picture.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import numpy as np

from appliance.values import Box, Face, Image
from appliance.vision.detection.candidates import (
    SHOW,
    Candidate,
    Known,
    Rejected,
    belongs,
    distance,
    is_same_size,
    matched,
)
from appliance.vision.detection.cascade import Looks, agreed, mean_score
from appliance.vision.detection.nms import same_face
from appliance.vision.detection.rate_limit import Pace
from appliance.vision.detection.regions import Region, squares, tiles, whole
from appliance.vision.detection.select_faces import STEADY, chosen

_MOST_BETWEEN_SCANS = 2
"""Turns in a row that may go elsewhere: newcomers are found even while somebody known is hard to see."""

_REST_EVERY = 6
"""While somebody is known one frame in so many goes without a scan when nothing is urgent: a scan is dear.
With one in three a newcomer of 4 % was found after 1.2 s in one of 30 videos at 15 frames a second."""

_SCANS_PER_S = 12.5
"""Nor are there more scans a second then: at 30 frames a second as many as at 15, and newcomers as soon."""

_MOST_CANDIDATES = 4
_REST = 12
"""Frames for which a rejected place is left alone."""

_BEYOND = 45
"""Frames for which a face beyond the limit counts; a round of scans, which sees it again, is over sooner."""

_REGAIN_REST = 3
"""Frames between two attempts to make sure that somebody lost is back."""

_STRAY = 5
"""Frames for which somebody unseen is kept whom the tracker does not wait for."""

_OTHER_SCENE = 28.0
"""Mean grey levels by which all of the picture differs after a cut; a pan or a lamp stays below."""

_TINY = 48, 27
"""Width and height of the copies of two frames that are compared."""

_BETWEEN_CUTS = 8
"""Frames: a flickering light must not cost a second opinion in each of them."""


class Follow:
    """What is known of one video. `size`: (width, height) of its frames in pixels."""

    def __init__(self, looks: Looks, size: tuple[int, int], limit: int) -> None:
        self.size = size
        self._looks = looks
        self._limit = limit
        self._parts = _in_turn(size)
        self._part = 0
        self._known: list[Known] = []
        self._candidates: list[Candidate] = []
        self._rejected: list[Rejected] = []
        self._beyond: list[Rejected] = []
        self._unscanned = 0
        self._frame = 0
        self._cuts = _Cuts()
        self._pace = Pace(_SCANS_PER_S)

    def begin(self, image: Image, faces: Sequence[Face], beyond: Sequence[Face]) -> list[Face]:
        """Take over what was found in the first frame; `beyond`: those for whom there was no closer look."""
        self._cuts.seen(image)
        self._beyond = [Rejected(face.box, _BEYOND) for face in beyond]
        self._known = [Known(face, face.score, face.score) for face in chosen(faces, (), self._limit)]
        return list(faces)

    def next(self, image: Image, expected: Sequence[Box], now: float) -> list[Face]:
        """The faces in the frame taken at `now`; `expected`: where those seen lately should be."""
        self._pace.tell(now)
        self._expect(expected)
        is_cut = self._cuts.seen(image)
        for person in self._known:
            self._look(person, image)
            if is_cut:
                self._doubt(person, image)
        self._part_twins()
        for _ in range(1 if self._known else 2):
            self._take_turn(image)
        self._frame += 1
        self._settle(expected)
        return [person.face for person in self._known if person.seen]

    @property
    def beyond_limit(self) -> int:
        """How many faces are in view that are not followed, since others are larger or were there before."""
        return len(self._beyond)

    def _expect(self, expected: Sequence[Box]) -> None:
        """Where everybody should be; those whom the tracker gave up are forgotten."""
        whose = matched(self._known, expected)
        kept = []
        for index, person in enumerate(self._known):
            if index in whose:
                person.place, person.waited = expected[whose[index]], True
            elif not person.seen and (person.waited or person.missed > _STRAY):
                continue
            kept.append(person)
        self._known = kept

    # --- looking at those known ---

    def _look(self, person: Known, image: Image) -> None:
        person.begin_frame()
        face = self._sight(person, image, wide=person.by_wide)
        person.looked(face.score if face else 0.0, wide=person.by_wide)
        if face and not person.lost:
            person.found(face, wide=person.by_wide)
            return
        person.not_found()
        person.hint = face

    def _sight(self, person: Known, image: Image, *, wide: bool) -> Face | None:
        """One detector's look at a person: their face, if it sees one of a size that they may have."""
        face = self._looks.follow(image, person.place, wide=wide)
        return face if face and (person.lost or person.may_be(face)) else None

    def _other_look(self, person: Known, image: Image) -> None:
        """The other detector's look at somebody missed, or at somebody shown for a second opinion."""
        wide = not person.by_wide
        face = self._sight(person, image, wide=wide)
        if face and person.seen and not person.agrees(face):
            face = None  # another face, or a part of this one
        person.looked(face.score if face else 0.0, wide=wide)
        if face:
            person.confirmed = face.box
        # The close look is the cheaper one: go back to it as soon as it sees them.
        if face and not (person.seen and wide) and not self._is_taken(face, person):
            person.found(face, wide=wide)
        person.rechecked()

    def _regain(self, person: Known, image: Image) -> None:
        """Believe in somebody lost again if the other detector sees what the first one did."""
        hint = person.hint
        assert hint is not None
        wide = self._looks.wide(image, hint.box)
        score = (hint.score + wide.score) / 2 if wide else 0.0
        if wide and is_same_size(hint.box, wide.box) and score >= self._looks.threshold:
            person.regain(hint, hint.score, wide.score)
        person.hint, person.rest = None, _REGAIN_REST

    def _doubt(self, person: Known, image: Image) -> None:
        """After a cut somebody else, or a thing, may be where the person was."""
        if person.seen:
            person.close = person.wide = 0.0
            primary = self._looks.close(image, person.face.box)
            other = self._looks.wide(image, person.face.box)
            if (
                primary
                and other
                and is_same_size(primary.box, other.box)
                and (primary.score + other.score) / 2 >= self._looks.threshold
            ):
                person.regain(primary, primary.score, other.score)
                return
        person.lose()

    def _part_twins(self) -> None:
        """Of two people taken for the same face only the one who should be nearer has it."""
        seen = [person for person in self._known if person.seen]
        for one, other in itertools.combinations(seen, 2):
            if one.seen and other.seen and same_face(one.face.box, other.face.box):
                apart = [distance(person.face.box, person.place) for person in (one, other)]
                (one if apart[0] > apart[1] else other).lose()

    def _is_taken(self, face: Face, by_other_than: Known) -> bool:
        others = (other for other in self._known if other.seen and other is not by_other_than)
        return any(same_face(face.box, other.face.box) for other in others)

    # --- the turn of a frame ---

    def _take_turn(self, image: Image) -> None:
        work = None if self._unscanned >= _MOST_BETWEEN_SCANS else self._urgent()
        if work is not None:
            self._unscanned += 1
            work(image)
        elif self._known and self._frame % _REST_EVERY == 0:
            return
        else:
            self._unscanned = 0
            if self._pace.due or not self._known:
                self._scan(image)
                self._pace.done()

    def _urgent(self) -> Callable[[Image], None] | None:
        for person in self._known:
            if person.hint and person.rest <= 0 and not self._is_taken(person.hint, person):
                return partial(self._regain, person)
        for person in self._known:
            if not (person.seen or person.lost) or person.recheck_due:
                return partial(self._other_look, person)
        return partial(self._verify, self._candidates.pop(0)) if self._candidates else None

    def _scan(self, image: Image) -> None:
        """Look at the next part of the picture and note what is new in it."""
        region = self._parts[self._part % len(self._parts)]
        self._part += 1
        taken = [person.face.box for person in self._known if not person.lost]
        taken += [place.place for place in self._rejected]
        for face in self._looks.scan(image, region):
            known = taken + [candidate.place for candidate in self._candidates]
            if not any(same_face(face.box, box) for box in known) and not self._is_beyond(face):
                self._candidates.append(Candidate(face))
        self._candidates = self._candidates[:_MOST_CANDIDATES]

    def _is_beyond(self, face: Face) -> bool:
        """Whether there is no place for a face that a scan found; one that the scan is sure of is counted."""
        least = min((person.face.box.area for person in self._known), default=0.0)
        if len(self._known) < self._limit or face.box.area > STEADY * least:
            return False
        before = next((place for place in self._beyond if same_face(face.box, place.place)), None)
        if before:
            before.place, before.frames = face.box, _BEYOND
        elif face.score >= self._looks.threshold:
            self._beyond.append(Rejected(face.box, _BEYOND))
        return True

    def _verify(self, candidate: Candidate, image: Image) -> None:
        """One closer look at a candidate: first by the detector, at its next turn by the verifier."""
        found, wide, least = candidate.found, candidate.wide, self._looks.threshold
        if wide is None:
            wide = self._looks.wide(image, found.box)
            if wide and mean_score(found, wide, surest=1.0) >= least:
                self._candidates.insert(0, Candidate(found, wide))
                return
        else:
            close = self._looks.close(image, wide.box)
            face = agreed(found, close, wide, least)
            if face and not any(
                person.seen and same_face(face.box, person.face.box) for person in self._known
            ):
                self._accept(face, close.score if close else 0.0, wide.score)
                return
        self._rejected.append(Rejected(candidate.place, _REST))

    def _accept(self, face: Face, close: float, wide: float) -> None:
        """A newcomer, or somebody lost who is back."""
        for person in self._known:
            if person.lost and belongs(face.box, person.place):
                person.regain(face, close, wide)
                return
        self._known.append(Known(face, close, wide))

    def _settle(self, expected: Sequence[Box]) -> None:
        """The end of a frame: let go of doubtful people, of those too many, and of old rejections."""
        for person in self._known:
            if not person.lost and person.average < SHOW * self._looks.threshold:
                person.lose()
        if len(self._known) > self._limit:
            kept = chosen([person.face for person in self._known], expected, self._limit)
            left_out = [person.face.box for person in self._known if person.face not in kept]
            self._known = [person for person in self._known if person.face in kept]
            self._beyond += [Rejected(box, _BEYOND) for box in left_out]
        self._rejected = _later(self._rejected)
        followed = [person.face.box for person in self._known if person.seen]
        self._beyond = [
            place
            for place in _later(self._beyond)
            if not any(same_face(place.place, box) for box in followed)
        ]


class _Cuts:
    """Tells a hard cut from frame to frame by a tiny copy of the picture."""

    def __init__(self) -> None:
        self._last: Image | None = None
        self._since = 0

    def seen(self, image: Image) -> bool:
        """Whether this frame shows another scene than the one before."""
        small = np.asarray(cv2.resize(image, _TINY, interpolation=cv2.INTER_LINEAR), np.uint8)
        last, self._last, self._since = self._last, small, self._since + 1
        if last is None or self._since < _BETWEEN_CUTS or _apart(small, last) < _OTHER_SCENE:
            return False
        self._since = 0
        return True


def _apart(one: Image, other: Image) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def _later(places: list[Rejected]) -> list[Rejected]:
    """Those that still count one frame later."""
    for place in places:
        place.frames -= 1
    return [place for place in places if place.frames > 0]


def _in_turn(size: tuple[int, int]) -> list[Region]:
    """What is scanned in turn: the whole and tiles, or squares where there are none.

    Squares beside tiles would find little more and make each round longer.
    """
    return [whole(size), *(tiles(size) or squares(size))]
