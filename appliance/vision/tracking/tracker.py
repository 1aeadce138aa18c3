"""Who is who from frame to frame: where each person should be now.

Faces are never recognised. A person keeps their number because their face moves on steadily: the tracker
predicts each box with the speed it had (an alpha-beta filter) and pairs boxes and predictions by distance
and size, all pairs at once, so that two people who cross go on with their own numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.values import Box, Face
from appliance.vision.tracking.assignment import IMPOSSIBLE, cheapest_pairs

_ALPHA, _BETA = 0.7, 0.25
"""How far position and speed follow a new box (alpha-beta filter), at steady sight."""

_REACH = 1.0
"""A face further from its prediction than this many face widths is somebody else."""

_SIZE_RATIO = 1.8
"""A face this many times larger or smaller than expected is somebody else."""

_SPEED_HOLDS_S = 0.8
"""Out of sight, a face goes on at its speed, slowing down within this time."""


@dataclass
class _Track:
    id: int
    box: Box
    seen: float
    speed: tuple[float, float] = (0.0, 0.0)

    def predicted(self, now: float) -> Box:
        # The distance covered by a speed that fades out: v * tau * (1 - exp(-t / tau)).
        ahead = _SPEED_HOLDS_S * (1.0 - math.exp(-max(0.0, now - self.seen) / _SPEED_HOLDS_S))
        return self.box.moved(self.speed[0] * ahead, self.speed[1] * ahead)

    def follow(self, box: Box, now: float) -> None:
        expected, passed = self.predicted(now), max(1e-3, now - self.seen)
        off = tuple(new - old for new, old in zip(box.center, expected.center, strict=True))
        gain = _BETA / max(passed, 1 / 60)
        self.speed = self.speed[0] + gain * off[0], self.speed[1] + gain * off[1]
        cx, cy = (old + _ALPHA * step for old, step in zip(expected.center, off, strict=True))
        width = expected.width + _ALPHA * (box.width - expected.width)
        height = expected.height + _ALPHA * (box.height - expected.height)
        self.box = Box(cx - width / 2, cy - height / 2, width, height)
        self.seen = now


class Tracker:
    """Gives every face a number that it keeps while in view."""

    def __init__(self, *, expiry_s: float) -> None:
        """`expiry_s`: a face unseen for longer is gone."""
        self._expiry_s = expiry_s
        self._tracks: list[_Track] = []
        self._last_id = 0

    @property
    def known(self) -> frozenset[int]:
        """The numbers of everybody in view, or out of sight so briefly that they are waited for."""
        return frozenset(track.id for track in self._tracks)

    def expected(self, now: float) -> list[Box]:
        """Where the faces of everybody known should be at `now`."""
        return [track.predicted(now) for track in self._tracks if now - track.seen <= self._expiry_s]

    def update(self, faces: Sequence[Face], now: float) -> list[int]:
        """The number of each face, in their order; `now` is the frame's capture time in seconds."""
        self._tracks = [track for track in self._tracks if now - track.seen <= self._expiry_s]
        known = list(self._tracks)
        pairs = _pair([track.predicted(now) for track in known], [face.box for face in faces])
        for index, track in pairs.items():
            known[track].follow(faces[index].box, now)
        return [
            known[pairs[index]].id if index in pairs else self._begin(face.box, now)
            for index, face in enumerate(faces)
        ]

    def forget(self) -> None:
        """Forget everyone, as after a cut; the next newcomer gets the next number."""
        self._tracks = []

    def reset(self) -> None:
        """Forget everybody; numbers begin at 1 again."""
        self._tracks, self._last_id = [], 0

    def _begin(self, box: Box, now: float) -> int:
        self._last_id += 1
        self._tracks.append(_Track(self._last_id, box, now))
        return self._last_id


def _pair(expected: Sequence[Box], found: Sequence[Box]) -> dict[int, int]:
    """Which found box belongs to which expected one: as many pairs as possible at the least distance."""
    if not found or not expected:
        return {}
    return dict(cheapest_pairs([[_distance(box, place) for place in expected] for box in found]))


def _distance(box: Box, place: Box) -> float:
    """How unlike a box is to where a face should be, 0 to about 2, or `IMPOSSIBLE`."""
    width = math.sqrt(max(box.area, 1.0))
    expected = math.sqrt(max(place.area, 1.0))
    ratio = max(width, expected) / min(width, expected)
    (ax, ay), (bx, by) = box.center, place.center
    apart = math.hypot(ax - bx, ay - by) / max(width, expected)
    if apart > _REACH or ratio > _SIZE_RATIO:
        return IMPOSSIBLE
    return apart + math.log2(ratio)
