"""Nods and shakes: swings of the head out and back, up and down or left and right.

A swing is two turns in opposite directions, each at least `_LEAST_DEG`, well above the noise, and completed
within `_TURN_S`. It counts when the turn back is completed, and each turn counts once: three nods count as
three, and a look down, a pause and a look up count as none.
"""

from __future__ import annotations

import math

import numpy as np

from appliance.values import Face, Point, Pose
from appliance.vision.motion.time_window import Series, TimeWindow

_LEAST_DEG = 4.5
"""Smallest turn, in degrees from end to end, that is part of a nod or a shake."""

_STANDS_OUT, _MOST_DEG = 3.7, 14.0
"""A turn must also be this many times the head's usual movement, noise included, up to the second value."""

_UNKNOWN_DEG = 7.0
"""Smallest turn until the usual movement is known."""

_WOBBLE_STEP_S, _WOBBLE_SPAN_S, _WOBBLE_KNOWN_S = 0.2, 10.0, 1.4
"""The usual movement: changes over the first, within the second, known after the third (seconds)."""

_LOW_FIFTH = 0.2533
"""A fifth of a normal distribution is within this many standard deviations."""

_TURN_S = 0.7
"""Longest turn out, and back: the slowest nod is about 0.75 a second."""

_BACK = 0.4
"""Share of the turn out by which the head must turn back."""

_SMOOTH_S = 0.09
"""The angle is averaged over this time: three frames at 30 a second, one at 10."""

_REST_S = 3.0
"""The rest angle of a head is the median over this time."""

_WINDOW_S = 1.0 - 1e-6
"""A completed swing counts for slightly less than a second, so that rounding never counts it twice."""

_DEPTHS = np.array([0.0, 0.0, 0.26, -0.42, -0.42])
"""Depths of eyes, nose tip and ears in face widths, positive towards the camera (from `head_pose.MEAN_FACE`).

Without the mouth, which moves in speech.
"""

_CENTRED = _DEPTHS - _DEPTHS.mean()
_LEVERS = _CENTRED / (_CENTRED**2).sum()
"""Maps shifts of these points, in face widths, to the angle in radians that fits them best.

The factors sum to zero: a shift of the entire head, or of the camera, changes no angle.
"""

_POINTS = [0, 1, 2, 4, 5]
"""Indices of these keypoints."""


def head_angles(face: Face, pose: Pose | None) -> tuple[float, float] | None:
    """Angles of a head to the picture's right and upwards, in degrees up to a constant; None if unknown.

    Computed from the nose tip relative to eyes and ears; with a pose, the mean of both.
    """
    if len(face.keypoints) <= max(_POINTS) or face.box.width <= 0:
        return None if pose is None else (pose.yaw, pose.pitch)
    right, up = _lever_angles(face.keypoints, face.box.width)
    return (right, up) if pose is None else ((right + pose.yaw) / 2, (up + pose.pitch) / 2)


def _lever_angles(keypoints: tuple[Point, ...], width: float) -> tuple[float, float]:
    points = np.asarray(keypoints)[_POINTS]
    x, y = np.degrees(_LEVERS @ points / width)
    # Along the head's own axes, from the lines through eyes and ears: a tilted head nods along its tilt.
    across = points[1] - points[0] + points[4] - points[3]
    length = math.hypot(*across)
    if length <= 0:
        return float(x), float(-y)
    cos, sin = across / length
    return float(cos * x + sin * y), float(sin * x - cos * y)


class SwingCounter:
    """Counts how often an angle swings out and back."""

    def __init__(self, *, across: float = 0.0) -> None:
        """`across`: share of the first turn that must be on the other side of the rest angle.

        0 also counts swings to one side only.
        """
        self._across = across
        self._raw = TimeWindow(1, _SMOOTH_S)
        self._angles = TimeWindow(1, _REST_S)
        self._wobbles = TimeWindow(1, _WOBBLE_SPAN_S)
        self._done: list[float] = []
        self._from = -math.inf  # earlier samples belong to a counted swing
        self._ending: tuple[float, float] | None = None  # direction and end of the turn back

    def add(self, angle: float, now: float) -> None:
        """Add an angle, in degrees, at `now` seconds."""
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
        """How many swings were completed within the last second, including `now`."""
        self._done = [done for done in self._done if now - done < _WINDOW_S]
        return len(self._done)

    def clear(self) -> None:
        """Start over; completed swings still count for their second."""
        self._raw.clear()
        self._angles.clear()
        self._wobbles.clear()
        self._from, self._ending = -math.inf, None

    def _least(self, now: float) -> float:
        """The smallest turn that counts, in degrees.

        Computed from the smallest fifth of the changes: a person may nod for more than half of the time.
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
        """A turn back often continues after it counts; the rest of it is not a new turn out."""
        if self._ending is None or now - self._from > _TURN_S:
            return
        direction, end = self._ending
        if direction * (angle - end) >= 0:
            self._from, self._ending = now, (direction, angle)

    def _swung(self, direction: float, least: float, now: float) -> bool:
        """Whether the newest angle completes a swing that went out in `direction`."""
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
