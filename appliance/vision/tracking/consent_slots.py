"""Which of the faces in view belong to those who agreed: a place each, and no more places than people.

Faces are not recognised, so a place is somebody who is followed. A place that nobody had yet goes to the
largest face that was in view steadily, in the zone if there is one. Whoever has one keeps it while
followed, however large other faces grow. One who was lost from sight leaves it for a short while to a face
that turns up anew where they were. After that it is nobody's: whoever comes then, the same person or
another, is not read until the operator says that they agreed, which makes new `Places`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.values import Box, Consent

STEADY_S = 0.5
"""So long a newcomer is in view, where somebody who agreed may be, before a free place is theirs."""

KEPT_S = 10.0
"""So long the place of somebody out of sight is kept for a face near where they were."""

_NEAR = 1.5
"""Near is within so many face widths, and less than twice as large or small."""
_SIZE_RATIO = 2.0

_LEAN = 0.15
"""Whoever has a place may lean out of the zone by this share of its size."""


@dataclass
class _Left:
    """A place whose holder is out of sight: who, and where and when they were seen last."""

    number: int
    box: Box
    seen: float


class Places:
    """Who has a place. Times are seconds of the frames."""

    def __init__(self, consent: Consent) -> None:
        self.consent = consent
        self._unused = 0 if consent.unconfirmed else consent.people
        self._holders: dict[int, tuple[Box, float]] = {}
        self._left: list[_Left] = []
        self._fit_since: dict[int, float] = {}
        self._in_view_since: dict[int, float] = {}

    def take(
        self, faces: Mapping[int, Box], known: frozenset[int], size: tuple[int, int], now: float
    ) -> frozenset[int]:
        """The numbers of those in view who have a place in this frame.

        `faces`: number to box in pixels; `known`: also those out of sight so briefly that the tracker waits
        for them; `size`: width and height of the picture in pixels; `now`: seconds.
        """
        self._part(faces, known, size, now)
        self._in_view_since = {
            number: self._in_view_since.get(number, now) for number in faces.keys() | known
        }
        fit = {number: box for number, box in faces.items() if self._fits(box, size, 0.0)}
        self._fit_since = {number: self._fit_since.get(number, now) for number in fit}
        newcomers = {number: box for number, box in fit.items() if number not in self._holders}
        self._return(newcomers, now)
        self._give(newcomers, now)
        return frozenset(number for number in faces if number in self._holders)

    def _part(
        self, faces: Mapping[int, Box], known: frozenset[int], size: tuple[int, int], now: float
    ) -> None:
        """Those who are gone, or out of the zone, leave their place behind."""
        for number, (box, seen) in list(self._holders.items()):
            if number not in known or (number in faces and not self._fits(faces[number], size, _LEAN)):
                del self._holders[number]
                self._left.append(_Left(number, box, seen))
            elif number in faces:
                self._holders[number] = faces[number], now
        self._left = [place for place in self._left if now - place.seen < KEPT_S]

    def _return(self, newcomers: dict[int, Box], now: float) -> None:
        """A face that turns up where somebody was lost goes on in their place, the nearest first."""
        pairs = sorted(
            (apart, number, index)
            for number, box in newcomers.items()
            for index, place in enumerate(self._left)
            if (apart := _widths_apart(place.box, box)) <= _NEAR and self._may_be(number, place)
        )
        taken: set[int] = set()
        for _, number, index in pairs:
            if number in newcomers and index not in taken:
                self._holders[number] = newcomers.pop(number), now
                taken.add(index)
        self._left = [place for index, place in enumerate(self._left) if index not in taken]

    def _may_be(self, number: int, place: _Left) -> bool:
        """Whoever was in view beside the one who is lost is somebody else."""
        return number == place.number or self._in_view_since[number] > place.seen

    def _give(self, newcomers: Mapping[int, Box], now: float) -> None:
        """Places that nobody had yet go to the largest who have been there steadily."""
        steady = [
            (-box.area, number)
            for number, box in newcomers.items()
            if now - self._fit_since[number] >= STEADY_S
        ]
        for _, number in sorted(steady)[: self._unused]:
            self._holders[number] = newcomers[number], now
            self._unused -= 1

    def _fits(self, box: Box, size: tuple[int, int], lean: float) -> bool:
        """Whether the middle of a face is in the zone, widened by `lean` of its size on each side."""
        zone = self.consent.zone
        if zone is None:
            return True
        x, y = box.center[0] / size[0], box.center[1] / size[1]
        across, down = lean * zone.width, lean * zone.height
        return zone.x - across <= x <= zone.right + across and zone.y - down <= y <= zone.bottom + down


def _widths_apart(place: Box, box: Box) -> float:
    """How far two boxes are from each other in face widths; infinite when their sizes do not go together."""
    larger, smaller = max(place.width, box.width), min(place.width, box.width)
    if larger > _SIZE_RATIO * max(smaller, 1e-9):
        return math.inf
    (ax, ay), (bx, by) = place.center, box.center
    return math.hypot(ax - bx, ay - by) / larger
