"""Quality check: whether a face can be read and, if not, why, in one word.

It measures the classifier's crop at one small size, so that a value means the same for near and far faces:
at 32 pixels a face is 25 wide, about the width of the smallest readable face. docs/quality.md explains how
the limits were found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Face, Floats, Image, Pose

SIDE = 32
"""Side in pixels of the crop that is measured."""

_FACE = SIDE / 1.3
"""Width of the face in it in pixels: crops are the detector's box with a margin of about 1.3."""

_PIXEL = 17.5
"""Face width in pixels at which the pixels blur a face as much as the measurement does."""

_BACKLIT = 2.0
"""A face is backlit if its surroundings are at least this many times as bright as its core."""

_DIM = 50.0
"""Level of a backlit face's core below which its sharpness is unknown."""

_EDGE = 0.25
"""A pixel is part of a backlit face up to this share of the way from its level to that of the
surroundings."""

_FLAT = 1.0
"""Added to the energy of the slopes, in squared levels a pixel: a face without slopes is not sharp."""


@dataclass(frozen=True)
class QualityLimits:
    """Limits beyond which a face is not readable. The defaults refuse nothing; the settings set real limits.

    `min_face_px`: width of the detector's box in pixels; `max_yaw`, `max_pitch`: degrees to either side;
    `min_sharpness`: cycles per face width, of a large face; `dark_below`, `bright_above`, `min_contrast`:
    levels, 0 to 255 (see `QualityMeasures`); `covered_above`: probability.
    """

    min_face_px: float = 0.0
    max_yaw: float = 180.0
    max_pitch: float = 180.0
    min_sharpness: float = 0.0
    dark_below: float = 0.0
    bright_above: float = 255.0
    min_contrast: float = 0.0
    covered_above: float = 1.0

    def relaxed(self, by: float = 0.1) -> QualityLimits:
        """These limits relaxed by a share `by`, for a face that was readable in the last frame.

        This hysteresis stops a face near a limit from changing with every frame.
        """
        return QualityLimits(
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
class QualityMeasures:
    """Measurements of the centre of a face.

    `upper`, `lower`: third and first quartile of its levels, 0 to 255; `contrast`: from the first decile to
    the ninth; `sharpness`: spatial frequency of its slopes along the direction in which they are coarsest,
    in cycles per face width.
    """

    upper: float
    lower: float
    contrast: float
    sharpness: float


def unreadable_reason(
    face: Face, pose: Pose | None, crop: Image, limits: QualityLimits, covered: float = 0.0
) -> str | None:
    """Why a face is not readable, in one word; None if it is.

    `crop`: the upright crop that is classified, grey or blue-green-red; `covered`: probability that the mouth
    or eyes are covered. If there are several reasons, it returns the one that explains the others: the
    sharpness of a dark face, or of a face in front of a bright window, is unknown.
    """
    if face.box.width < limits.min_face_px:
        return "small"
    if pose is not None and (abs(pose.yaw) > limits.max_yaw or abs(pose.pitch) > limits.max_pitch):
        return "turned"
    grey = _grey(crop)
    found = _measure(grey)
    if found.upper < limits.dark_below:
        return "dark"
    if found.lower > limits.bright_above:
        return "bright"
    if found.contrast < limits.min_contrast:  # nearly black, or washed out by haze or glare
        return "dark" if found.upper + found.lower < 255 else "bright"
    least = limits.min_sharpness * attainable_sharpness(face.box.width)
    if found.sharpness < least:
        return "dark" if _is_dark_before_light(grey, least) else "blurred"
    return "covered" if covered > limits.covered_above else None


def measure_quality(crop: Image) -> QualityMeasures:
    """Light and sharpness of an upright crop, uint8, grey or blue-green-red, of any size."""
    return _measure(_grey(crop))


def _grey(crop: Image) -> Floats:
    method = cv2.INTER_AREA if min(crop.shape[:2]) > SIDE else cv2.INTER_LINEAR
    small = cv2.resize(crop, (SIDE, SIDE), interpolation=method)
    return np.asarray(small if small.ndim == 2 else cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.float32)


def _measure(grey: Floats) -> QualityMeasures:
    levels = np.sort(grey[_MIDDLE])
    tenth, quarter = len(levels) // 10, len(levels) // 4
    return QualityMeasures(
        upper=float(levels[-1 - quarter]),
        lower=float(levels[quarter]),
        contrast=float(levels[-1 - tenth] - levels[tenth]),
        sharpness=_sharpness(grey, _INNER),
    )


def attainable_sharpness(face_px: float) -> float:
    """Highest possible sharpness of a face `face_px` pixels wide, as a share of a large face's.

    The widths of pixels and of blur add as squares. The formula fits sharp faces of 20, 24 and 32 pixels,
    which have 0.76, 0.79 and 0.89 of their sharpness at 100 pixels.
    """
    return 1 / math.sqrt(1 + (_PIXEL / max(face_px, 1.0)) ** 2)


def _is_dark_before_light(grey: Floats, least: float) -> bool:
    """Whether a face that seems blurred is only darker than a bright background.

    The edge between them is steep and coarse; without that edge the face has the `least` sharpness.
    """
    core, beside = float(np.median(grey[_CORE])), float(np.quantile(grey[_BESIDE], 0.75))
    if beside < _BACKLIT * core:
        return False
    is_face = (grey < core + _EDGE * (beside - core)).astype(np.uint8)
    inside = _INNER & (cv2.erode(is_face, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0)
    return core < _DIM or (bool(inside.any()) and _sharpness(grey, inside) >= least)


def _sharpness(grey: Floats, inside: NDArray[np.bool_]) -> float:
    """The lowest sharpness of four directions, to detect motion blur too, in cycles per face width.

    The ratio of the energies of the second and the first derivative is the mean square of the angular
    frequency, weighted by the energy of the slopes; contrast cancels out. `inside`: the pixels that count,
    shape (SIDE - 2, SIDE - 2).
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
    """Mask of the face's centre in a crop, shape (SIDE, SIDE); it is slightly below the crop's centre."""
    down, across = np.mgrid[:SIDE, :SIDE] + 0.5
    x, y = (across - SIDE / 2) / (width * SIDE), (down - 0.56 * SIDE) / (height * SIDE)
    return np.asarray(x**2 + y**2 <= 1)


_MIDDLE = _oval(0.32, 0.38)
_INNER = _oval(0.36, 0.42)[1:-1, 1:-1]
_CORE, _BESIDE = _oval(0.2, 0.25), ~_oval(0.46, 0.5)
_NEIGHBOURS = (((0, 1), 1.0), ((1, 0), 1.0), ((1, 1), math.sqrt(2)), ((1, -1), math.sqrt(2)))
"""A step in each direction, (down, across), and its length in pixels."""
