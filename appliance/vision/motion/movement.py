"""How a person moves: nods, shakes, the speed of the head, and the upper body. See docs/movement.md."""

from __future__ import annotations

import math

import numpy as np

from appliance.values import Face, Movement, Pose
from appliance.vision.motion.body import body_change
from appliance.vision.motion.frame_pair import View
from appliance.vision.motion.nods import Swings, turned
from appliance.vision.motion.time_window import History, Series, jitter

_ENOUGH_S = 0.5
"""Movement is read once somebody was seen for so long."""

_GAP_S = 1.0
"""After a longer gap it begins anew."""

_SECOND = 1.0
_SPAN_S = 4.0

_STEPS_S = (0.1, 0.25, 0.5)
"""The head's way is measured in steps of these lengths; the longest way found counts.

Short steps follow quick movements, long ones see slow movements through the noise.
"""

_NOISES = 3.0
"""Of each step, so many standard deviations of its noise are taken off."""

_LEAST_NOISE, _USUAL_NOISE, _MOST_NOISE = 0.003, 0.01, 0.02
"""Noise of a head's place in face widths: the least; what is assumed until it is known; more is movement."""

_ACROSS = 0.25
"""A shake goes to both sides of where the head rests; a look to one side and back is none."""


class Mover:
    """Follows the movement of one person."""

    def __init__(self) -> None:
        self._places = History(3, _SPAN_S)  # x, y, width of the face in pixels
        self._bodies = History(1, _SECOND)
        self._nods, self._shakes = Swings(), Swings(across=_ACROSS)

    def add(self, view: View, face: Face, pose: Pose | None, now: float) -> Movement | None:
        """The movement within the last second; `view`: of the frame taken at `now`; `face`: in its pixels."""
        seen = self._places.times
        if len(seen) and not 0 <= now - seen[-1] <= _GAP_S:
            self._clear()
        self._places.add(now, *_place(face, view), face.box.width)
        body = body_change(view, face.box)
        if body is not None:
            self._bodies.add(now, body)
        angles = turned(face, pose)
        if angles is not None:
            self._shakes.add(angles[0], now)
            self._nods.add(angles[1], now)
        if self._places.lasted < _ENOUGH_S:
            return None
        return Movement(
            head=head_speed(self._places.times, self._places.values),
            body=None if body is None else float(self._bodies.values.mean()),
            nods=self._nods.completed(now),
            shakes=self._shakes.completed(now),
        )

    def _clear(self) -> None:
        self._places.clear()
        self._bodies.clear()
        self._nods.clear()
        self._shakes.clear()


def _place(face: Face, view: View) -> tuple[float, float]:
    """Where a face is against the background, in pixels: six keypoints together tremble least."""
    points = face.keypoints or (face.box.center,)
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return x - view.drift[0], y - view.drift[1]


def head_speed(times: Series, places: Series) -> float:
    """The mean speed over the last second in face widths a second; `places` are rows of x, y, width."""
    interval = float(times[-1] - times[0]) / max(1, len(times) - 1)
    width = float(np.partition(places[:, 2], len(places) // 2)[len(places) // 2])
    if interval <= 0 or width <= 0:
        return 0.0
    ways = places[:, :2] / width
    noise = min(_MOST_NOISE, max(_LEAST_NOISE, jitter(ways, _USUAL_NOISE)))
    # The mean place over an interval is the difference of the running integral at its ends.
    areas = np.diff(times)[:, None] * (ways[1:] + ways[:-1]) / 2
    integral = np.vstack([np.zeros((1, 2)), np.cumsum(areas, axis=0)])
    steps = sorted({max(step, interval) for step in _STEPS_S})
    return max(_speed(times, integral, step, noise * math.sqrt(2.0 * interval / step)) for step in steps)


def _speed(times: Series, integral: Series, step: float, noise: float) -> float:
    """The mean speed in steps of `step` seconds, each from the mean place of one step to that of the next."""
    now = float(times[-1])
    room = now - max(float(times[0]) + 2 * step, now - _SECOND + step)
    count = math.floor(room / (step / 2) + 1e-6) + 1
    if count < 1:
        return 0.0
    ends = now - np.arange(count + 4) * (step / 2)
    x, y = (np.interp(ends, times, column) for column in integral.T)
    # Two half steps make a step, and the second difference of the integral is a difference of mean places.
    moved_x, moved_y = (value[:-4] - 2 * value[2:-2] + value[4:] for value in (x, y))
    moved = (moved_x**2 + moved_y**2) / step**2
    kept = np.sqrt(np.maximum(moved - (_NOISES * noise) ** 2, 0.0))
    return float(kept.mean() / step)
