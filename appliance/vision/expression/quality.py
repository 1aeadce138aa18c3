"""Whether a face can be read at all; if not, why, in one word.

Judged on the crop that the classifier sees, brought to one small size, so that a measure means the same for
near and far faces: at 32 pixels a face is 25 wide, about as wide as the smallest that can be read. How the
default limits were found is in docs/quality.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Face, Floats, Image, Pose

SIDE = 32
"""Everything is measured on the crop at this many pixels a side."""

_FACE = SIDE / 1.3
"""How wide the face is in it: crops are the detector's box with a margin of about 1.3."""

_PIXEL = 17.5
"""Pixels across a face at which its own pixels blur it as much as the measuring does (see `attainable`)."""

_BACKLIT = 2.0
"""A face is backlit where its surroundings are at least this many times as bright as its core."""

_DIM = 50.0
"""The level of a backlit face's core below which nothing is known of its sharpness."""

_EDGE = 0.25
"""Up to so far from the level of a backlit face to that beside it a pixel is taken for a part of the face."""

_FLAT = 1.0
"""Added to the energy of slopes (levels squared a pixel): a face without any is not sharp."""


@dataclass(frozen=True)
class Limits:
    """From where on nothing is claimed. These defaults refuse nothing; the settings have the measured ones.

    `min_face_px`: width of the detector's box in pixels; `max_yaw`, `max_pitch`: degrees to either side;
    `min_sharpness`: cycles per face width, of a large face; `dark_below`, `bright_above`, `min_contrast`:
    levels, 0 to 255 (see `Measures`); `covered_above`: probability.
    """

    min_face_px: float = 0.0
    max_yaw: float = 180.0
    max_pitch: float = 180.0
    min_sharpness: float = 0.0
    dark_below: float = 0.0
    bright_above: float = 255.0
    min_contrast: float = 0.0
    covered_above: float = 1.0

    def loosened(self, by: float = 0.1) -> Limits:
        """The limits for a face that could be read in the frame before: a tenth less strict.

        So a face at the edge does not change between readable and not readable with every frame.
        """
        return Limits(
            min_face_px=self.min_face_px * (1 - by),
            max_yaw=self.max_yaw * (1 + by),
            max_pitch=self.max_pitch * (1 + by),
            min_sharpness=self.min_sharpness * (1 - by),
            dark_below=self.dark_below * (1 - by),
            bright_above=self.bright_above + by * (255 - self.bright_above),
            min_contrast=self.min_contrast * (1 - by),
            covered_above=self.covered_above + by * (1 - self.covered_above),
        )


@dataclass(frozen=True)
class Measures:
    """What was measured in the middle of a face.

    `upper`, `lower`: the level (0 to 255) that a quarter of its pixels are brighter than, darker than;
    `contrast`: from the darkest tenth to the brightest; `sharpness`: how fine its slopes are along the
    direction in which they are coarsest, as a spatial frequency in cycles per face width.
    """

    upper: float
    lower: float
    contrast: float
    sharpness: float


def unreadable(
    face: Face, pose: Pose | None, crop: Image, limits: Limits, covered: float = 0.0
) -> str | None:
    """The reason why this face cannot be read, or None.

    `crop` is the upright crop that is classified, grey or blue-green-red; `covered` the probability that
    mouth or eyes are covered. Of several reasons the one that explains the others is given: of a dark face
    nothing is known about its sharpness, nor of one whose edge towards a bright window outshines all else.
    """
    if face.box.width < limits.min_face_px:
        return "small"
    if pose is not None and (abs(pose.yaw) > limits.max_yaw or abs(pose.pitch) > limits.max_pitch):
        return "turned"
    grey = _grey(crop)
    found = _measured(grey)
    if found.upper < limits.dark_below:
        return "dark"
    if found.lower > limits.bright_above:
        return "bright"
    if found.contrast < limits.min_contrast:  # nearly black, or washed out by haze or glare
        return "dark" if found.upper + found.lower < 255 else "bright"
    least = limits.min_sharpness * attainable(face.box.width)
    if found.sharpness < least:
        return "dark" if _is_dark_before_light(grey, least) else "blurred"
    return "covered" if covered > limits.covered_above else None


def measured(crop: Image) -> Measures:
    """Light and sharpness of an upright crop, grey or blue-green-red."""
    return _measured(_grey(crop))


def _grey(crop: Image) -> Floats:
    method = cv2.INTER_AREA if min(crop.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=method)
    return np.asarray(small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _measured(grey: Floats) -> Measures:
    levels = np.sort(grey[_MIDDLE])
    tenth, quarter = len(levels) // 10, len(levels) // 4
    return Measures(
        upper=float(levels[-1 - quarter]),
        lower=float(levels[quarter]),
        contrast=float(levels[-1 - tenth] - levels[tenth]),
        sharpness=_sharpness(grey, _INNER),
    )


def attainable(face_px: float) -> float:
    """How sharp a face of this width can be at best, as a share of a large one: a far face is not blurred.

    Widths of pixels and of blur add up as squares. Fits sharp faces of 20, 24 and 32 pixels, which have 0.76,
    0.79 and 0.89 of the sharpness that they have at 100.
    """
    return 1 / math.sqrt(1 + (_PIXEL / max(face_px, 1.0)) ** 2)


def _is_dark_before_light(grey: Floats, least: float) -> bool:
    """Whether a face that seems blurred is only darker than a bright background.

    The edge towards that is steep and coarse: without it the face itself has the `least` sharpness.
    """
    core, beside = float(np.median(grey[_CORE])), float(np.quantile(grey[_BESIDE], 0.75))
    if beside < _BACKLIT * core:
        return False
    is_face = (grey < core + _EDGE * (beside - core)).astype(np.uint8)
    inside = _INNER & (cv2.erode(is_face, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0)
    return core < _DIM or (bool(inside.any()) and _sharpness(grey, inside) >= least)


def _sharpness(grey: Floats, inside: NDArray[np.bool_]) -> float:
    """The least of four directions, so that blur by movement is found as well, in cycles per face width.

    The ratio of the energies of second and first derivative is the mean square of the angular frequency,
    weighted by the energy of the slopes: contrast cancels out. `inside`: the pixels that count, (SIDE - 2,
    SIDE - 2).
    """
    middle, least = grey[1:-1, 1:-1], math.inf
    for (down, across), step in _NEIGHBOURS:
        before = grey[1 - down : SIDE - 1 - down, 1 - across : SIDE - 1 - across]
        after = grey[1 + down : SIDE - 1 + down, 1 + across : SIDE - 1 + across]
        slope = ((after - before) / (2 * step))[inside]
        bend = ((after - 2 * middle + before) / step**2)[inside]
        least = min(least, float(bend @ bend) / (float(slope @ slope) + _FLAT * len(slope)))
    return math.sqrt(least) * _FACE / (2 * math.pi)


def _oval(width: float, height: float) -> NDArray[np.bool_]:
    """The middle of the face in a crop; it lies a little lower than the middle of the crop."""
    down, across = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = (across - SIDE / 2) / (width * SIDE), (down - 0.56 * SIDE) / (height * SIDE)
    return np.asarray(x**2 + y**2 <= 1)


_MIDDLE = _oval(0.32, 0.38)
_INNER = _oval(0.36, 0.42)[1:-1, 1:-1]
_CORE, _BESIDE = _oval(0.2, 0.25), ~_oval(0.46, 0.5)
_NEIGHBOURS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), math.sqrt(2)), ((1, -1), math.sqrt(2)))
"""A step in each direction, (down, across), and its length in pixels."""
