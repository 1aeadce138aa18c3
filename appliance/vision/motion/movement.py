"""How a person moves: nods, head shakes, speed of the head, and the upper body. See docs/movement.md."""

from __future__ import annotations

import math

import numpy as np

from appliance.values import Face, Movement, Pose
from appliance.vision.motion.body import body_change
from appliance.vision.motion.frame_pair import FramePair
from appliance.vision.motion.nods import SwingCounter, head_angles
from appliance.vision.motion.time_window import Series, TimeWindow, jitter

_ENOUGH_S = 0.5
"""Seconds in view before movement is reported."""

_GAP_S = 1.0
"""After a longer gap the measurement restarts."""

_SECOND = 1.0
_SPAN_S = 4.0

_STEPS_S = (0.1, 0.25, 0.5)
"""The path of the head is measured in steps of these lengths; the longest path counts.

Short steps follow quick movements, long ones see slow movements through the noise.
"""

_NOISES = 3.0
"""Standard deviations of noise that are subtracted from each step."""

_LEAST_NOISE, _USUAL_NOISE, _MOST_NOISE = 0.003, 0.01, 0.02
"""Noise of a head's position in face widths: the least, the value assumed until it is known, and the most."""

_ACROSS = 0.25
"""A shake goes to both sides of the rest angle; a look to one side and back does not."""


class MotionEstimator:
    """Estimates the movement of one person."""

    def __init__(self) -> None:
        self._places = TimeWindow(3, _SPAN_S)  # x, y, width of the face in pixels
        self._bodies = TimeWindow(1, _SECOND)
        self._nods, self._shakes = SwingCounter(), SwingCounter(across=_ACROSS)

    def add(
        self, pair: FramePair, face: Face, pose: Pose | None, now: float, *, detected: bool = True
    ) -> Movement | None:
        """The movement within the last second; None until the person was in view for half a second.

        `pair`: the pair of the frame taken at `now` seconds; `face`: in pixels of the frame; `detected`:
        false for a face that stays where it was detected before: only the body is measured.
        """
        seen = self._places.times
        if len(seen) and not 0 <= now - seen[-1] <= _GAP_S:
            self._clear()
        if detected:
            self._add_head(pair, face, pose, now)
        body = body_change(pair, face.box)
        if body is not None:
            self._bodies.add(now, body)
        if self._places.lasted < _ENOUGH_S:
            return None
        return Movement(
            head=head_speed(self._places.times, self._places.values),
            body=None if body is None else float(self._bodies.values.mean()),
            nods=self._nods.completed(now),
            shakes=self._shakes.completed(now),
        )

    def _add_head(self, pair: FramePair, face: Face, pose: Pose | None, now: float) -> None:
        self._places.add(now, *_position(face, pair), face.box.width)
        angles = head_angles(face, pose)
        if angles is not None:
            self._shakes.add(angles[0], now)
            self._nods.add(angles[1], now)

    def _clear(self) -> None:
        self._places.clear()
        self._bodies.clear()
        self._nods.clear()
        self._shakes.clear()


def _position(face: Face, pair: FramePair) -> tuple[float, float]:
    """Position of a face relative to the background in pixels: the mean of its keypoints, for least noise."""
    points = face.keypoints or (face.box.center,)
    x, y = (sum(axis) / len(points) for axis in zip(*points, strict=True))
    return x - pair.drift[0], y - pair.drift[1]


def head_speed(times: Series, places: Series) -> float:
    """Mean speed over the last second in face widths a second.

    `times`: seconds, shape (n,); `places`: rows of x, y and face width in pixels, shape (n, 3).
    """
    interval = float(times[-1] - times[0]) / max(1, len(times) - 1)
    width = float(np.partition(places[:, 2], len(places) // 2)[len(places) // 2])
    if interval <= 0 or width <= 0:
        return 0.0
    ways = places[:, :2] / width
    noise = min(_MOST_NOISE, max(_LEAST_NOISE, jitter(ways, _USUAL_NOISE)))
    # The mean position over an interval is the difference of the running integral at its ends.
    areas = np.diff(times)[:, None] * (ways[1:] + ways[:-1]) / 2
    integral = np.vstack([np.zeros((1, 2)), np.cumsum(areas, axis=0)])
    steps = sorted({max(step, interval) for step in _STEPS_S})
    return max(_speed(times, integral, step, noise * math.sqrt(2.0 * interval / step)) for step in steps)


def _speed(times: Series, integral: Series, step: float, noise: float) -> float:
    """Mean speed in steps of `step` seconds, each from the mean position of one step to that of the next."""
    now = float(times[-1])
    room = now - max(float(times[0]) + 2 * step, now - _SECOND + step)
    count = math.floor(room / (step / 2) + 1e-6) + 1
    if count < 1:
        return 0.0
    ends = now - np.arange(count + 4) * (step / 2)
    x, y = (np.interp(ends, times, column) for column in integral.T)
    # Two half steps make a step; the second difference of the integral is a difference of mean positions.
    moved_x, moved_y = (value[:-4] - 2 * value[2:-2] + value[4:] for value in (x, y))
    moved = (moved_x**2 + moved_y**2) / step**2
    kept = np.sqrt(np.maximum(moved - (_NOISES * noise) ** 2, 0.0))
    return float(kept.mean() / step)
