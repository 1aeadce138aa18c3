"""Nods and shakes of a head: turns up and down, or left and right, that swing out and back.

A swing out and back is two turns of opposite direction, each at least `_LEAST_DEG` and well above the noise,
each done within `_TURN_S`. It counts at the moment the way back is done, and each turn counts once: three
nods are three, and whoever looks down, stays there and looks up again has not nodded.
"""

from __future__ import annotations

import math

import numpy as np

from appliance.values import Face, Point, Pose
from appliance.vision.motion.time_window import History, Series

_LEAST_DEG = 4.5
"""A smaller turn, in degrees from end to end, is part of no nod and no shake."""

_STANDS_OUT, _MOST_DEG = 3.7, 14.0
"""Nor one of less than so many times what the head does all the time, noise included, up to the second."""

_UNKNOWN_DEG = 7.0
"""The least turn until it is known what the head does all the time."""

_WOBBLE_STEP_S, _WOBBLE_SPAN_S, _WOBBLE_KNOWN_S = 0.2, 10.0, 1.4
"""What it does all the time: changes over the first, of the last ten seconds, once watched for the third."""

_LOW_FIFTH = 0.2533
"""A fifth of all normally distributed numbers lie within so many standard deviations."""

_TURN_S = 0.7
"""Out takes at most this long, and back as well: the slowest nod is about 0.75 a second."""

_BACK = 0.4
"""How much of the way out must be gone back."""

_SMOOTH_S = 0.09
"""The angle is the mean over this time: three frames of thirty a second, one of ten."""

_REST_S = 3.0
"""The place where a head rests is the median of its angle over this time."""

_WINDOW_S = 1.0 - 1e-6
"""What is completed counts for one second; a hair less, so that rounding never counts it in two."""

_DEPTHS = np.array([0.0, 0.0, 0.26, -0.42, -0.42])
"""Eyes, nose tip and ears, in face widths towards the camera (those of `pose.MEAN_FACE`).

Without the mouth, which moves when somebody speaks.
"""

_CENTRED = _DEPTHS - _DEPTHS.mean()
_LEVERS = _CENTRED / (_CENTRED**2).sum()
"""What turns shifts of these points, in face widths, into the angle in radians that fits them best.

They sum to zero: moving the whole head, or the camera, turns nothing.
"""

_POINTS = [0, 1, 2, 4, 5]
"""Which of the six keypoints these are."""


def turned(face: Face, pose: Pose | None) -> tuple[float, float] | None:
    """How far a head is turned right and up, in degrees from some constant angle; None if unknown.

    Right is that of the picture. The nose tip against eyes and ears; where there is a pose, the mean of both.
    """
    if len(face.keypoints) <= max(_POINTS) or face.box.width <= 0:
        return None if pose is None else (pose.yaw, pose.pitch)
    right, up = _levered(face.keypoints, face.box.width)
    return (right, up) if pose is None else ((right + pose.yaw) / 2, (up + pose.pitch) / 2)


def _levered(keypoints: tuple[Point, ...], width: float) -> tuple[float, float]:
    points = np.asarray(keypoints)[_POINTS]
    x, y = np.degrees(_LEVERS @ points / width)
    # Along the head's own axes, given by the lines through eyes and ears: a tilted head nods along its tilt.
    across = points[1] - points[0] + points[4] - points[3]
    length = math.hypot(*across)
    if length <= 0:
        return float(x), float(-y)
    cos, sin = across / length
    return float(cos * x + sin * y), float(sin * x - cos * y)


class Swings:
    """Counts how often one angle swings out and back."""

    def __init__(self, *, across: float = 0.0) -> None:
        """`across`: this share of the first turn must lie on the other side of where the head rests.

        0 counts also what goes to one side only.
        """
        self._across = across
        self._raw = History(1, _SMOOTH_S)
        self._angles = History(1, _REST_S)
        self._wobbles = History(1, _WOBBLE_SPAN_S)
        self._done: list[float] = []
        self._from = -math.inf  # what is older belongs to a swing that is counted
        self._ending: tuple[float, float] | None = None  # direction of the way back, and how far it has gone

    def add(self, angle: float, now: float) -> None:
        """One more angle, in degrees, at `now` seconds."""
        self._raw.add(now, angle)
        smooth = float(self._raw.values.mean())
        self._angles.add(now, smooth)
        self._follow_end(smooth, now)
        least = self._least(now)
        for direction in (1.0, -1.0):
            if self._swung(direction, least, now):
                self._done.append(now)
                self._from, self._ending = now, (-direction, smooth)
                return

    def completed(self, now: float) -> int:
        """How many were completed within the last second, `now` included."""
        self._done = [done for done in self._done if now - done < _WINDOW_S]
        return len(self._done)

    def clear(self) -> None:
        """Begin anew; what was counted stays counted for its second."""
        self._raw.clear()
        self._angles.clear()
        self._wobbles.clear()
        self._from, self._ending = -math.inf, None

    def _least(self, now: float) -> float:
        """The least turn that counts, in degrees.

        From the smallest fifth of the changes: somebody may be nodding for more than half of the time.
        """
        angles, before = self._angles, now - _WOBBLE_STEP_S
        if angles.times[0] <= before:
            earlier = angles.values[np.searchsorted(angles.times, before, side="right") - 1, 0]
            self._wobbles.add(now, abs(angles.values[-1, 0] - earlier))
        wobbles = self._wobbles.values[:, 0]
        if self._wobbles.lasted < _WOBBLE_KNOWN_S:
            return _UNKNOWN_DEG
        fifth = len(wobbles) // 5
        usual = float(np.partition(wobbles, fifth)[fifth]) / _LOW_FIFTH
        return min(_MOST_DEG, max(_LEAST_DEG, _STANDS_OUT * usual))

    def _follow_end(self, angle: float, now: float) -> None:
        """The way back often goes on after it counts; the rest of it is no new way out."""
        if self._ending is None or now - self._from > _TURN_S:
            return
        direction, end = self._ending
        if direction * (angle - end) >= 0:
            self._from, self._ending = now, (direction, angle)

    def _swung(self, direction: float, least: float, now: float) -> bool:
        """Whether the newest angle ends a swing that went out in `direction`."""
        first = int(np.searchsorted(self._angles.times, max(self._from, now - 2 * _TURN_S)))
        times = self._angles.times[first:]
        angles: Series = direction * self._angles.values[first:, 0]
        out = int(np.searchsorted(times, now - _TURN_S))
        if len(angles) - out < 2:
            return False
        peak = out + int(np.argmax(angles[out:]))
        back = angles[peak] - angles[-1]
        begin = angles[np.searchsorted(times, times[peak] - _TURN_S) : peak + 1].min()
        way = angles[peak] - begin
        if way < least or back < max(least, _BACK * way):
            return False
        rest = direction * float(np.median(self._angles.values))
        return bool(self._across <= 0 or rest - begin >= self._across * way)
