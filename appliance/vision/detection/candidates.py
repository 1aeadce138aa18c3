"""What a search remembers in video: of each person it follows, and of places where somebody might be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from appliance.values import Box, Face
from appliance.vision.detection.nms import same_face

KEEP = 0.6
"""A look counts as a sight from this share of the threshold on (0.3 of 0.5)."""

SHOW = 0.84
"""A person is shown while the average of the looks is at least this share of the threshold (0.42 of 0.5)."""

_FOLLOW = 0.4
"""How far the average of a detector's scores follows a new one."""

_TRUST_WIDE = 2 / 3
"""Weight of the detector that sees a face with its surroundings: it is the harder one to fool."""

_FIRST_RECHECK, _LAST_RECHECK = 2, 16
"""Frames from the first sight to the other detector's next look at a person, and between looks later on."""

_REACH = 1.0
"""A face further from where a person should be than this many face widths is somebody else's."""

_SIZE_RATIO = 1.8
"""A face this many times larger or smaller than expected is somebody else's."""

_RESIZED = 1.3
"""Once a face is this many times larger or smaller than the other detector saw it, that one looks again."""

_SAME_SIZE = 1.5
"""Two detectors see one face when the larger of their boxes is at most this many times as wide."""


@dataclass
class Known:
    """Somebody who was verified once. `face` is the last sight, `place` where they should be now.

    `close`, `wide`: averages of each detector's scores. Each frame one of the two looks: the one that
    saw them last, `by_wide` or not; `confirmed`: the face as the other one saw it last, which bounds its
    size. `waited`: the tracker waits for them. `lost`: not believed in until both see them again; `hint`:
    what one of them saw meanwhile, looked into unless it has `rest` frames to wait.
    """

    face: Face
    close: float
    wide: float
    by_wide: bool = False
    waited: bool = False
    seen: bool = True
    lost: bool = False
    missed: int = 0
    hint: Face | None = None
    rest: int = 0
    place: Box = field(init=False)
    confirmed: Box = field(init=False)
    _wait: int = _FIRST_RECHECK
    _due: int = _FIRST_RECHECK

    def __post_init__(self) -> None:
        self.place = self.confirmed = self.face.box

    @property
    def average(self) -> float:
        """How sure both detectors have been lately, 0 to 1."""
        return (1 - _TRUST_WIDE) * self.close + _TRUST_WIDE * self.wide

    @property
    def recheck_due(self) -> bool:
        """Whether it is time for the other detector's look, or the face has another size than it saw."""
        return self.seen and (self._due <= 0 or size_ratio(self.face.box, self.confirmed) > _RESIZED)

    def may_be(self, face: Face) -> bool:
        """Whether a face has a size that the person may have by now.

        Without this bound a track would shrink from frame to frame until it is a speck.
        """
        return size_ratio(face.box, self.confirmed) <= _SIZE_RATIO

    def agrees(self, face: Face) -> bool:
        """Whether what the other detector sees in the same frame is this very face."""
        return same_face(face.box, self.face.box) and is_same_size(face.box, self.face.box)

    def looked(self, score: float, *, wide: bool) -> None:
        """Take in one detector's score of this frame, 0 when it saw nothing."""
        if wide:
            self.wide += _FOLLOW * (score - self.wide)
        else:
            self.close += _FOLLOW * (score - self.close)

    def begin_frame(self) -> None:
        """One frame nearer to the other detector's look; what was seen in the last frame is over."""
        self._due -= 1
        self.rest -= 1
        self.hint = None

    def rechecked(self) -> None:
        """The other detector has looked; its next look comes after twice as many frames."""
        self._wait = min(2 * self._wait, _LAST_RECHECK)
        self._due = self._wait

    def found(self, face: Face, *, wide: bool) -> None:
        """Take in where the person is in this frame, and who saw it."""
        self.face, self.by_wide, self.seen, self.missed = face, wide, True, 0

    def not_found(self) -> None:
        """Take in that this frame does not show the person."""
        self.seen, self.missed = False, self.missed + 1

    def lose(self) -> None:
        """Believe in the person again only after looks that would do for a newcomer."""
        self.lost, self.by_wide, self.close, self.wide = True, False, 0.0, 0.0
        self.not_found()

    def regain(self, face: Face, close: float, wide: float) -> None:
        """The person is back: both looks were sure enough."""
        self.lost, self.close, self.wide = False, close, wide
        self._wait = self._due = _FIRST_RECHECK
        self.found(face, wide=False)
        self.confirmed = face.box


@dataclass(frozen=True)
class Candidate:
    """What a scan found and, after the first closer look, what the detector saw there."""

    found: Face
    wide: Face | None = None

    @property
    def place(self) -> Box:
        """Where it was seen last."""
        return self.wide.box if self.wide else self.found.box


@dataclass
class Rejected:
    """A place that is not worth another look for some `frames`: no face, or one beyond the limit."""

    place: Box
    frames: int


def belongs(box: Box, place: Box) -> bool:
    """Whether a box may be the person who should be at `place`."""
    return distance(box, place) <= _REACH


def size_ratio(one: Box, other: Box) -> float:
    """How many times as wide one of two boxes is as the other, 1 or more."""
    sides = math.sqrt(max(one.area, 1.0)), math.sqrt(max(other.area, 1.0))
    return max(sides) / min(sides)


def is_same_size(one: Box, other: Box) -> bool:
    """Whether two detectors may mean one face: a part of it is much smaller."""
    return size_ratio(one, other) <= _SAME_SIZE


def distance(box: Box, place: Box) -> float:
    """How far a box is from a place in face widths; infinite when the sizes do not go together."""
    side, expected = math.sqrt(max(box.area, 1.0)), math.sqrt(max(place.area, 1.0))
    larger, smaller = max(side, expected), min(side, expected)
    (ax, ay), (bx, by) = box.center, place.center
    return math.hypot(ax - bx, ay - by) / larger if larger <= _SIZE_RATIO * smaller else math.inf


def matched(known: Sequence[Known], expected: Sequence[Box]) -> dict[int, int]:
    """Which expected box is whose: index of the known to index of the expected, the nearest pairs first."""
    pairs = sorted(
        (distance(place, person.place), index, number)
        for index, person in enumerate(known)
        for number, place in enumerate(expected)
    )
    found: dict[int, int] = {}
    for apart, index, number in pairs:
        if apart <= 2 * _REACH and index not in found and number not in found.values():
            found[index] = number
    return found
