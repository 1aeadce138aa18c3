"""How often a face is read: in every frame, unless it is steady. See docs/decisions/0093-cadence.md.

A steady face has not moved, and its scores have not changed, for a while. It is classified `CLASSIFIED_PER_S`
times a second at any frame rate, and if it is completely still, detected in a fourth of these frames. In
every frame its pixels are compared with those of the last detection, so it is read at once when it moves.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from appliance.values import Box, Floats, Image

CLASSIFIED_PER_S = 15.0
"""Classifications a second of each steady face: every second frame of a camera of 30 frames a second."""

STEADY_S = 0.5
"""Seconds without movement and change until a face is steady."""

_DETECT_EVERY = 4
"""A face that does not move at all is detected again with every fourth classification."""

_UNDETECTED_S = 0.4
"""Longest time without a detection, where `_DETECT_EVERY` classifications would take longer."""

_MOVED, _RESIZED = 0.05, 1.06
"""A face moved if its centre did by this share of its width, or its width changed by this factor, between two
detections. The detectors' own noise is about a hundredth of the width."""

_CHANGED, _STILL = 0.15, 0.05
"""The pixels of a face changed if they differ by this share of their contrast, as a root mean square."""

_LEAST_CONTRAST = 12.0
"""Standard deviation in levels that counts at least: in a dark face noise is no change."""

_CELLS, _SAMPLES = 12, 4
"""A face is compared in this many cells across and down, each the mean of this many samples both ways."""


class Look(Enum):
    """What is done with a face in a frame."""

    READ = "read"
    """Detected and classified."""
    CLASSIFY = "classify"
    """Classified where it was last detected."""
    REST = "rest"
    """Neither: its box and its scores stay."""


@dataclass
class _Watched:
    """A face: its box, its pixels and the time when it was last detected, and when it last moved or changed.

    `owed`: classifications that are due to it; `since_detected`: how many it had since it was detected;
    `change`: how much its pixels have changed since.
    """

    box: Box
    pixels: Floats
    detected: float
    unsteady: float
    owed: float = 0.0
    since_detected: int = 0
    change: float = 0.0

    def compare(self, image: Image) -> float:
        """How much its pixels have changed."""
        after = _pixels(image, self.box)
        contrast = max(float(self.pixels.std()), _LEAST_CONTRAST)
        # Without the mean: a lamp changes no face.
        self.change = float((after - self.pixels).std()) / contrast
        return self.change


class Cadence:
    """Decides which faces of a frame are read. Times are seconds of the frames, so analysis is repeatable."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}
        self._credit, self._now = 0.0, -math.inf

    def plan(self, image: Image, tracks: Collection[int], now: float) -> Mapping[int, Look]:
        """What to do with each track in this frame, at `now` seconds.

        `image`: uint8 blue-green-red. Steady faces share the classifications of a frame, so that the work is
        spread over the frames.
        """
        passed, self._now = now - self._now, now
        self._watched = {id: face for id, face in self._watched.items() if id in tracks}
        looks = dict.fromkeys(tracks, Look.READ)
        if not 0.0 <= passed < STEADY_S:
            return looks
        steady = {
            id: face
            for id, face in self._watched.items()
            if now - face.unsteady >= STEADY_S and face.compare(image) <= _CHANGED
        }
        for id, face in self._watched.items():
            face.owed = face.owed + passed * CLASSIFIED_PER_S if id in steady else 0.0
        # Rounded, so that an uneven camera of 15 frames a second has every frame classified.
        self._credit = min(self._credit + passed * CLASSIFIED_PER_S * len(steady), float(len(steady)))
        due = math.floor(self._credit + 0.5)
        self._credit -= due
        for place, (id, face) in enumerate(sorted(steady.items(), key=lambda each: (-each[1].owed, each[0]))):
            if place >= due:
                looks[id] = Look.REST
                continue
            face.owed -= 1.0
            is_recent = face.since_detected + 1 < _DETECT_EVERY and now - face.detected < _UNDETECTED_S
            if face.change <= _STILL and is_recent:
                looks[id] = Look.CLASSIFY
        return looks

    def add(self, id: int, box: Box, image: Image, now: float, *, detected: bool, steady: bool) -> None:
        """A face was classified in the frame at `now` seconds.

        `detected`: in this frame, at `box`; `steady`: whether its scores are.
        """
        face = self._watched.get(id)
        if face is None:
            self._watched[id] = _Watched(box, _pixels(image, box), now, now)
            return
        if not steady or (detected and _moved(face.box, box)):
            face.unsteady = now
        if detected:
            face.box, face.pixels = box, _pixels(image, box)
            face.detected, face.since_detected = now, 0
        else:
            face.since_detected += 1

    def reset(self) -> None:
        """Start over: another video, another consent."""
        self._watched, self._credit, self._now = {}, 0.0, -math.inf


def _pixels(image: Image, box: Box) -> Floats:
    """The green levels of a face, float32, shape (`_CELLS`, `_CELLS`); the picture's edge is repeated."""
    side, (height, width) = _CELLS * _SAMPLES, image.shape[:2]
    steps = (np.arange(side) + 0.5) / side
    columns = np.clip(box.x + steps * box.width, 0, width - 1).astype(np.intp)
    rows = np.clip(box.y + steps * box.height, 0, height - 1).astype(np.intp)
    samples = image[rows[:, None], columns, 1].astype(np.float32)
    return np.asarray(cv2.resize(samples, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA), np.float32)


def _moved(before: Box, after: Box) -> bool:
    (ax, ay), (bx, by) = before.center, after.center
    width = max(before.width, 1e-9)
    ratio = max(after.width, width) / max(min(after.width, width), 1e-9)
    return math.hypot(ax - bx, ay - by) > _MOVED * width or ratio > _RESIZED
