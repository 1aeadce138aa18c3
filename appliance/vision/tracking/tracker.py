"""Multi-face tracker: alpha-beta filters for the predictions, and an optimal assignment of boxes to them.

Faces are never recognised. A face keeps its track id because it moves steadily. All pairs are assigned
together by distance and size, so two people who cross keep their ids.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.values import Box, Face
from appliance.vision.tracking.assignment import IMPOSSIBLE, min_cost_pairs

_ALPHA, _BETA = 0.7, 0.25
"""Gains of the alpha-beta filter for position and speed."""

_REACH = 1.0
"""A face further from its prediction than this many face widths is another person."""

_SIZE_RATIO = 1.8
"""A face this many times larger or smaller than predicted is another person."""

_SPEED_HOLDS_S = 0.8
"""Time constant of the decay of the predicted speed of a face out of sight."""


@dataclass
class _Track:
    """One face: its last box in pixels, when it was seen, and its speed in pixels a second."""

    id: int
    box: Box
    seen: float
    speed: tuple[float, float] = (0.0, 0.0)

    def predict(self, now: float) -> Box:
        # The distance covered at a decaying speed: v * tau * (1 - exp(-t / tau)).
        ahead = _SPEED_HOLDS_S * (1.0 - math.exp(-max(0.0, now - self.seen) / _SPEED_HOLDS_S))
        return self.box.moved(self.speed[0] * ahead, self.speed[1] * ahead)

    def correct(self, box: Box, now: float) -> None:
        expected, passed = self.predict(now), max(1e-3, now - self.seen)
        off = tuple(new - old for new, old in zip(box.center, expected.center, strict=True))
        gain = _BETA / max(passed, 1 / 60)
        self.speed = self.speed[0] + gain * off[0], self.speed[1] + gain * off[1]
        cx, cy = (old + _ALPHA * step for old, step in zip(expected.center, off, strict=True))
        width = expected.width + _ALPHA * (box.width - expected.width)
        height = expected.height + _ALPHA * (box.height - expected.height)
        self.box = Box(cx - width / 2, cy - height / 2, width, height)
        self.seen = now


class Tracker:
    """Gives each face a track id, from 1, that it keeps while in view; boxes in pixels, times in seconds."""

    def __init__(self, *, expiry_s: float) -> None:
        """`expiry_s`: a track that is unseen for longer ends."""
        self._expiry_s = expiry_s
        self._tracks: list[_Track] = []
        self._last_id = 0

    @property
    def ids(self) -> frozenset[int]:
        """The ids of all tracks: of faces in view, and of those out of sight for less than `expiry_s`."""
        return frozenset(track.id for track in self._tracks)

    def predict(self, now: float) -> dict[int, Box]:
        """Where the tracked faces should be at `now`, by track id."""
        return {track.id: track.predict(now) for track in self._tracks if now - track.seen <= self._expiry_s}

    def update(self, faces: Sequence[Face], now: float) -> list[int]:
        """The track id of each face of a frame, in the order of `faces`; `now`: its capture time."""
        self._tracks = [track for track in self._tracks if now - track.seen <= self._expiry_s]
        known = list(self._tracks)
        pairs = _pair([track.predict(now) for track in known], [face.box for face in faces])
        for index, track in pairs.items():
            known[track].correct(faces[index].box, now)
        return [
            known[pairs[index]].id if index in pairs else self._begin(face.box, now)
            for index, face in enumerate(faces)
        ]

    def end_tracks(self) -> None:
        """End all tracks, as after a cut; ids continue."""
        self._tracks = []

    def reset(self, *, keep_ids: bool = False) -> None:
        """End all tracks; ids start at 1 again, or with `keep_ids` continue."""
        self._tracks = []
        if not keep_ids:
            self._last_id = 0

    def _begin(self, box: Box, now: float) -> int:
        self._last_id += 1
        self._tracks.append(_Track(self._last_id, box, now))
        return self._last_id


def _pair(expected: Sequence[Box], found: Sequence[Box]) -> dict[int, int]:
    """Index of a found box to index of an expected one: as many pairs as possible at the least total cost."""
    if not found or not expected:
        return {}
    return dict(min_cost_pairs([[_cost(box, place) for place in expected] for box in found]))


def _cost(box: Box, place: Box) -> float:
    """Distance in face widths plus the logarithm of the size ratio, 0 to about 2, or `IMPOSSIBLE`."""
    width = math.sqrt(max(box.area, 1.0))
    expected = math.sqrt(max(place.area, 1.0))
    ratio = max(width, expected) / min(width, expected)
    (ax, ay), (bx, by) = box.center, place.center
    apart = math.hypot(ax - bx, ay - by) / max(width, expected)
    if apart > _REACH or ratio > _SIZE_RATIO:
        return IMPOSSIBLE
    return apart + math.log2(ratio)
