"""Which faces belong to people who consented: one slot for each person, and no more slots than people.

Faces are not recognised, so a slot holds a tracked face. An unused slot goes to the largest face that has
been in view steadily, in the zone if there is one. Its holder keeps it while tracked, even if other faces
become larger. If the holder goes out of sight, the slot waits briefly for a new face in the same place. Then
it is closed: the next face, of the same person or another, is not read until the operator confirms consent,
which makes new `ConsentSlots`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from appliance.values import Box, Consent

STEADY_S = 0.5
"""Seconds for which a newcomer must be in view, inside the zone, to get an unused slot."""

KEPT_S = 10.0
"""Seconds for which the slot of a person out of sight waits for a face near where they were."""

_NEAR = 1.5
"""Near: within this many face widths, and less than `_SIZE_RATIO` times as large or small."""
_SIZE_RATIO = 2.0

_ZONE_MARGIN = 0.15
"""A holder may lean out of the zone by this share of its size."""


@dataclass
class _VacantSlot:
    """A slot whose holder is out of sight: who it was, where, and when in seconds."""

    track_id: int
    box: Box
    seen: float


class ConsentSlots:
    """Assigns consent slots to tracked faces. Times are seconds of the frames."""

    def __init__(self, consent: Consent) -> None:
        """`consent`: how many people consented and, if there is one, the zone, in shares of the picture."""
        self.consent = consent
        self._unused = 0 if consent.unconfirmed else consent.people
        self._holders: dict[int, tuple[Box, float]] = {}
        self._vacant: list[_VacantSlot] = []
        self._in_zone_since: dict[int, float] = {}
        self._in_view_since: dict[int, float] = {}

    def assign(
        self, faces: Mapping[int, Box], tracked: frozenset[int], size: tuple[int, int], now: float
    ) -> frozenset[int]:
        """The track ids of the faces in this frame that have a slot.

        `faces`: track id to box in pixels; `tracked`: all track ids, including those briefly out of sight;
        `size`: (width, height) of the picture in pixels; `now`: seconds.
        """
        self._vacate(faces, tracked, size, now)
        self._in_view_since = {
            track_id: self._in_view_since.get(track_id, now) for track_id in faces.keys() | tracked
        }
        in_zone = {track_id: box for track_id, box in faces.items() if self._is_in_zone(box, size, 0.0)}
        self._in_zone_since = {track_id: self._in_zone_since.get(track_id, now) for track_id in in_zone}
        newcomers = {track_id: box for track_id, box in in_zone.items() if track_id not in self._holders}
        self._reclaim(newcomers, now)
        self._fill(newcomers, now)
        return frozenset(track_id for track_id in faces if track_id in self._holders)

    def _vacate(
        self, faces: Mapping[int, Box], tracked: frozenset[int], size: tuple[int, int], now: float
    ) -> None:
        """Vacate the slots of holders who are out of sight or have left the zone."""
        for track_id, (box, seen) in list(self._holders.items()):
            has_left = track_id in faces and not self._is_in_zone(faces[track_id], size, _ZONE_MARGIN)
            if track_id not in tracked or has_left:
                del self._holders[track_id]
                self._vacant.append(_VacantSlot(track_id, box, seen))
            elif track_id in faces:
                self._holders[track_id] = faces[track_id], now
        self._vacant = [slot for slot in self._vacant if now - slot.seen < KEPT_S]

    def _reclaim(self, newcomers: dict[int, Box], now: float) -> None:
        """Give vacant slots to new faces where the holder was, the nearest first."""
        pairs = sorted(
            (apart, track_id, index)
            for track_id, box in newcomers.items()
            for index, slot in enumerate(self._vacant)
            if (apart := _widths_apart(slot.box, box)) <= _NEAR and self._may_reclaim(track_id, slot)
        )
        taken: set[int] = set()
        for _, track_id, index in pairs:
            if track_id in newcomers and index not in taken:
                self._holders[track_id] = newcomers.pop(track_id), now
                taken.add(index)
        self._vacant = [slot for index, slot in enumerate(self._vacant) if index not in taken]

    def _may_reclaim(self, track_id: int, slot: _VacantSlot) -> bool:
        """False for a face that was in view together with the holder: it is another person."""
        return track_id == slot.track_id or self._in_view_since[track_id] > slot.seen

    def _fill(self, newcomers: Mapping[int, Box], now: float) -> None:
        """Give unused slots to the largest faces that have been in the zone steadily."""
        steady = [
            (-box.area, track_id)
            for track_id, box in newcomers.items()
            if now - self._in_zone_since[track_id] >= STEADY_S
        ]
        for _, track_id in sorted(steady)[: self._unused]:
            self._holders[track_id] = newcomers[track_id], now
            self._unused -= 1

    def _is_in_zone(self, box: Box, size: tuple[int, int], margin: float) -> bool:
        """Whether a face's centre is in the zone, widened by `margin` of its size on each side."""
        zone = self.consent.zone
        if zone is None:
            return True
        x, y = box.center[0] / size[0], box.center[1] / size[1]
        across, down = margin * zone.width, margin * zone.height
        return zone.x - across <= x <= zone.right + across and zone.y - down <= y <= zone.bottom + down


def _widths_apart(one: Box, other: Box) -> float:
    """Distance of two centres in widths of the larger box; infinite where the sizes differ too much."""
    larger, smaller = max(one.width, other.width), min(one.width, other.width)
    if larger > _SIZE_RATIO * max(smaller, 1e-9):
        return math.inf
    (ax, ay), (bx, by) = one.center, other.center
    return math.hypot(ax - bx, ay - by) / larger
