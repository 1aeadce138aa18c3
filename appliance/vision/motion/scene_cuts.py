"""Hard cuts of a video.

Frames are compared as small grey pictures. Two frames of one take correlate as a whole, perhaps shifted, or
each part of the newer one is found near its place in the older one, in any light. So a lamp, a moving head or
camera, or a person who walks through is not a cut. docs/decisions/0067-hard-cuts.md explains how the limits
were found.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Image

LONGEST_GAP_S = 0.2
"""Frames further apart are not compared: people move too far in that time."""

_SIZE = 64, 48
"""Width and height of the small pictures."""

_BLOCK = 8
"""Side of a part in pixels, and how far to each side it is searched."""

_ALIKE = 0.86
"""Lowest correlation of two full frames of one take; a lamp changes it little. Also used for the centre of a
frame and its best match, which detects a pan."""

_EDGE = 12, 8
"""How far a pan may shift the centre between two frames, across and down."""

_FOUND, _FOUND_IN_HALF = 0.945, 0.96
"""Lowest mean correlation of the parts of one take with their best matches: for all parts, and for the left
or right half, since fast movement in one half leaves the other unchanged."""

_DULL = 8.0
"""Standard deviation in levels below which a frame is not compared, as in a fade to black."""

_PLAIN, _RICH = 3.0, 20.0
"""A part with a standard deviation below the first value is left out; its weight rises up to the second."""

_FEWEST = 4
"""The fewest parts for a decision."""

Small = NDArray[np.uint8]


class CutDetector:
    """Compares each frame of a video with the previous one. Use it from one thread only."""

    def __init__(self) -> None:
        self._last: Small | None = None
        self._seen = 0.0

    def is_cut(self, image: Image, now: float) -> bool:
        """Whether a frame starts another take.

        `image`: uint8 blue-green-red, of any size; `now`: seconds.
        """
        small = _small(image)
        if small.std() < _DULL:
            return False  # the frames before and after a short darkness are compared
        last, passed = self._last, now - self._seen
        self._last, self._seen = small, now
        if last is None or not 0 <= passed <= LONGEST_GAP_S + 1e-6:
            return False
        return not (_is_alike(small, last) or _found_again(small, last))

    def reset(self) -> None:
        """Start over with another video."""
        self._last = None


def _small(image: Image) -> Small:
    coarse = 4 * _SIZE[0], 4 * _SIZE[1]
    if image.shape[1] > coarse[0] and image.shape[0] > coarse[1]:  # averaging a large frame is slow
        image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_LINEAR), np.uint8)
    small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (3, 3), 0), np.uint8)


def _is_alike(small: Small, last: Small) -> bool:
    """Whether two frames correlate as a whole, or do so after a pan."""
    (across, down), (width, height) = _EDGE, _SIZE
    middle = small[down : height - down, across : width - across]
    return any(
        cv2.matchTemplate(last, part, cv2.TM_CCOEFF_NORMED).max() >= _ALIKE for part in (small, middle)
    )


def _found_again(small: Small, last: Small) -> bool:
    """Whether the parts of a frame are found in the previous one."""
    border = cv2.copyMakeBorder(last, _BLOCK, _BLOCK, _BLOCK, _BLOCK, cv2.BORDER_REFLECT)
    rows, columns = _SIZE[1] // _BLOCK, _SIZE[0] // _BLOCK
    found, weight = np.zeros((rows, columns)), np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            y, x = row * _BLOCK, column * _BLOCK
            part = small[y : y + _BLOCK, x : x + _BLOCK]
            texture = float(part.std())
            if texture >= _PLAIN:
                around = border[y : y + 3 * _BLOCK, x : x + 3 * _BLOCK]
                found[row, column] = cv2.matchTemplate(around, part, cv2.TM_CCOEFF_NORMED).max()
                weight[row, column] = min(texture, _RICH)
    middle = columns // 2
    halves = [_mean(found[:, side], weight[:, side]) for side in (slice(middle), slice(middle, None))]
    in_half = max((half for half in halves if half is not None), default=1.0)
    mean = _mean(found, weight)
    return mean is None or mean >= _FOUND or in_half >= _FOUND_IN_HALF


def _mean(found: NDArray[np.float64], weight: NDArray[np.float64]) -> float | None:
    if np.count_nonzero(weight) < _FEWEST:
        return None
    return float((found * weight).sum() / weight.sum())
