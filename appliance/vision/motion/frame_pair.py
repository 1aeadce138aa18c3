"""A stabilised pair of small grey pictures, now and a moment ago.

It is made once for each frame; all measurements of movement from pixels compare these two.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from appliance.values import Box, Floats, Image
from appliance.vision.motion.camera_shift import camera_shift

LONG_SIDE = 320
"""Pixels of the longer side of the small picture; smaller frames stay as they are."""

_LAG_S = 0.2
"""Age of the earlier picture: the same at every frame rate, so that results do not depend on it."""

_OLDEST_S, _YOUNGEST_S = 0.5, 0.06
"""Oldest and youngest picture to compare with."""

_CHAIN = 0.7
"""Share of the drift that comes from the earlier picture; the rest comes from the last frame."""

_QUARTER = 0.3186
"""A quarter of a normal distribution is within this many standard deviations."""

_LEAST_NOISE = 0.3
"""In grey levels: a picture has at least rounding noise."""

_APART = 3
"""Pixels this far apart do not share the noise that blurring spread."""


_NOWHERE = Box(0.0, 0.0, 0.0, 0.0)
_NOTHING: Floats = np.zeros((1, 1), np.float32)


@dataclass(frozen=True)
class FramePair:
    """A frame's small picture and the stabilised earlier one: grey levels, float32, shape (height, width).

    `scale`: pixels of the small picture to one of the frame. `before`: the earlier picture, shifted to where
    the background is now; None if there is none. `clear`: the part that both show, in pixels of the small
    picture. `noise`: standard deviation of a pixel, in grey levels. `drift`: shift of the background since
    the first picture, (right, down) in pixels of the frame, smoothed over the time between the two.
    """

    now: Floats
    scale: float
    before: Floats | None = None
    clear: Box = _NOWHERE
    noise: float = _LEAST_NOISE
    drift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class _Kept:
    taken: float
    small: Floats
    drift: tuple[float, float]


class FramePairBuilder:
    """Makes the pair for each frame of a video. Use it from one thread only."""

    def __init__(self) -> None:
        self._kept: deque[_Kept] = deque()
        self._drift = 0.0, 0.0

    def add(self, image: Image, faces: Sequence[Box], now: float) -> FramePair:
        """The pair for a blue-green-red frame taken at `now` seconds; `faces`: boxes in its pixels."""
        if not faces:  # the pair is not needed, and most rooms are empty most of the time
            self._kept.clear()
            return FramePair(_NOTHING, 1.0, drift=self._drift)
        small, scale = _small_grey(image)
        while self._kept and not 0 <= now - self._kept[0].taken <= _OLDEST_S:
            self._kept.popleft()
        earlier = self._earlier(small, now)
        passed = now - self._kept[-1].taken if self._kept else 0.0
        if earlier is None:
            self._kept.append(_Kept(now, small, self._drift))
            return FramePair(small, scale, drift=self._drift)
        dx, dy = camera_shift(earlier.small, small, [_scaled(box, scale) for box in faces])
        share = passed / (now - earlier.taken)
        self._drift = (
            _drifted(earlier.drift[0], self._drift[0], dx / scale, share),
            _drifted(earlier.drift[1], self._drift[1], dy / scale, share),
        )
        self._kept.append(_Kept(now, small, self._drift))
        before, clear = _shifted(earlier.small, dx, dy)
        return FramePair(small, scale, before, clear, _noise(before, small), self._drift)

    def reset(self) -> None:
        """Start over: another video, another consent."""
        self._kept.clear()
        self._drift = 0.0, 0.0

    def _earlier(self, small: Floats, now: float) -> _Kept | None:
        fits = [
            kept for kept in self._kept if now - kept.taken >= _YOUNGEST_S and kept.small.shape == small.shape
        ]
        return min(fits, key=lambda kept: abs(now - kept.taken - _LAG_S), default=None)


def _small_grey(image: Image) -> tuple[Floats, float]:
    height, width = image.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY) if small.ndim == 3 else small
    # Subsampling keeps fine lines, which the next frame samples differently; a slight blur removes them.
    return np.asarray(cv2.blur(grey.astype(np.float32), (3, 3)), np.float32), scale


def _scaled(box: Box, scale: float) -> Box:
    return Box(box.x * scale, box.y * scale, box.width * scale, box.height * scale)


def _drifted(earlier: float, last: float, shift: float, share: float) -> float:
    """The drift now: mostly that of the earlier picture plus the shift since.

    Consecutive frames are compared with different earlier ones, and each such chain accumulates its own
    errors. Mixing in the prediction from the last frame's drift and the speed keeps the chains together.
    """
    return _CHAIN * (earlier + shift) + (1.0 - _CHAIN) * (last + share * shift)


def _shifted(before: Floats, dx: float, dy: float) -> tuple[Floats, Box]:
    """The earlier picture shifted by (`dx`, `dy`) pixels, and the part of it that is known."""
    height, width = before.shape
    if (dx, dy) == (0.0, 0.0):
        return before, Box(0.0, 0.0, width, height)
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    moved = cv2.warpAffine(before, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    left, top = max(0, math.ceil(dx)), max(0, math.ceil(dy))
    right, bottom = width + min(0, math.floor(dx)), height + min(0, math.floor(dy))
    return np.asarray(moved, np.float32), Box(left, top, max(0, right - left), max(0, bottom - top))


def _noise(before: Floats, now: Floats) -> float:
    """Standard deviation of a pixel, from the quarter with the least change.

    Changes of light, movement and edges are in the other quarters.
    """
    change = now[::_APART, ::_APART] - before[::_APART, ::_APART]
    if change.shape[1] < 2:
        return _LEAST_NOISE
    steps = np.abs(change[:, 1:] - change[:, :-1]).ravel()
    quarter = len(steps) // 4
    # A step is the difference of two differences: twice the standard deviation of one pixel.
    # Sorted: many steps are equal, and `partition` is three times as slow on such values.
    return max(_LEAST_NOISE, float(np.sort(steps)[quarter]) / (2 * _QUARTER))
