"""Hard cuts of a video: from one frame to the next everything is somewhere else, or something else.

Judged on tiny grey pictures. Two frames of one take are alike as wholes, perhaps shifted, or each part of the
newer one is found near its place in the older one, whatever the light: so neither a lamp, nor a moving head
or camera, nor a person who walks through is a cut. How the limits were found is in
docs/decisions/0067-hard-cuts.md.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Image

LONGEST_GAP_S = 0.2
"""Frames further apart are not compared: within a longer time people move too far."""

_SIZE = 64, 48
"""Width and height of what is compared."""

_BLOCK = 8
"""Side of a part in its pixels, and how far to each side the part is looked for."""

_ALIKE = 0.86
"""Correlation of two whole frames from which on they are one take; a lamp changes it little. The same for the
middle of a frame with wherever it fits best: a pan."""

_EDGE = 12, 8
"""How far a pan may move the middle between two frames, across and down."""

_FOUND, _FOUND_IN_HALF = 0.945, 0.96
"""Mean correlation of the parts with what they are found at, from which on it is one take. All of them count,
and those of the left and of the right half: what moves fast through one half leaves the other as it was."""

_DULL = 8.0
"""Standard deviation in levels below which a frame shows too little to be compared, as in a fade to black."""

_PLAIN, _RICH = 3.0, 20.0
"""The same for a part: below it is left out; up to here it counts the more."""

_FEWEST = 4
"""Fewer parts decide nothing."""

Small = NDArray[np.uint8]


class CutDetector:
    """Compares each frame of a video with the one before. Belongs to one thread."""

    def __init__(self) -> None:
        self._last: Small | None = None
        self._seen = 0.0

    def is_cut(self, image: Image, now: float) -> bool:
        """Whether the frame taken at `now` seconds, blue-green-red of any size, begins another take."""
        small = _small(image)
        if small.std() < _DULL:
            return False  # what is before and after a short darkness is compared
        last, passed = self._last, now - self._seen
        self._last, self._seen = small, now
        if last is None or not 0 <= passed <= LONGEST_GAP_S + 1e-6:
            return False
        return not (_is_alike(small, last) or _found_again(small, last))

    def reset(self) -> None:
        """Another video: its first frame is compared with none."""
        self._last = None


def _small(image: Image) -> Small:
    coarse = 4 * _SIZE[0], 4 * _SIZE[1]
    if image.shape[1] > coarse[0] and image.shape[0] > coarse[1]:  # averaging a large frame is slow
        image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_LINEAR), np.uint8)
    small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), (3, 3), 0), np.uint8)


def _is_alike(small: Small, last: Small) -> bool:
    """Whether two frames are alike as wholes, or but for a pan."""
    (across, down), (width, height) = _EDGE, _SIZE
    middle = small[down : height - down, across : width - across]
    return any(
        cv2.matchTemplate(last, part, cv2.TM_CCOEFF_NORMED).max() >= _ALIKE for part in (small, middle)
    )


def _found_again(small: Small, last: Small) -> bool:
    """Whether the parts of a frame are found in the one before."""
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
