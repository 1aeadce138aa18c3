"""How much the picture changes where a person's upper body is.

The region is cut from the picture now and a moment ago, and compared by its pattern: in a small window around
each point, with the mean brightness and the contrast of both taken out, so that light which changes is no
movement; and less what the noise of the camera explains.
"""

from __future__ import annotations

import cv2
import numpy as np

from appliance.values import Box, Floats
from appliance.vision.motion.frame_pair import View

_WIDE, _HIGH, _GAP = 3.0, 2.5, 0.1
"""The region, in face widths: its size, and how far below the box of the face it begins."""

_LEAST_VISIBLE = 0.2
"""If less of the region than this lies in the picture, there is no body to be seen."""

_CELLS = 16
"""The region is compared at so many pixels to a face width."""

_WINDOW = 7
"""Each pattern is compared within so many of these pixels: not quite half a face."""

_PATTERN = 6.0
"""A pattern weaker than so many times the noise (as variances) hardly counts."""

_DEAD, _FULL = 0.15, 0.75
"""A pattern that differs by less than the first is the same, by more than the second another one."""

_LEAST_PX = 4
"""A region of fewer pixels of the small picture, either way, shows nothing."""


def body_region(box: Box) -> Box:
    """Where the upper body is below a face, in the same pixels as the box; it may reach over the edge."""
    side = box.width
    return Box(box.center[0] - _WIDE * side / 2, box.bottom + _GAP * side, _WIDE * side, _HIGH * side)


def body_change(view: View, face: Box) -> float | None:
    """The share of the upper body's region that shows another pattern than a moment ago, 0 to 1.

    None when too little of it is in the picture, or there is nothing to compare with. `face` is in pixels of
    the frame.
    """
    scale = view.scale
    region = body_region(Box(face.x * scale, face.y * scale, face.width * scale, face.height * scale))
    left, top = max(region.x, view.clear.x), max(region.y, view.clear.y)
    right, bottom = min(region.right, view.clear.right), min(region.bottom, view.clear.bottom)
    columns, rows = slice(round(left), round(right)), slice(round(top), round(bottom))
    if view.before is None or (right - left) * (bottom - top) < _LEAST_VISIBLE * region.area:
        return None
    if columns.stop - columns.start < _LEAST_PX or rows.stop - rows.start < _LEAST_PX:
        return None
    finer = _CELLS / (face.width * scale)
    size = max(_LEAST_PX, round((right - left) * finer)), max(_LEAST_PX, round((bottom - top) * finer))
    method = cv2.INTER_AREA if finer < 1 else cv2.INTER_LINEAR
    before, now = (
        np.asarray(cv2.resize(picture[rows, columns], size, interpolation=method), np.float32)
        for picture in (view.before, view.now)
    )
    return _changed(before, now, view.noise)


def _changed(before: Floats, now: Floats, noise: float) -> float:
    """The mean over all points of how unlike the patterns around them are."""
    window = _WINDOW, _WINDOW
    a, b = before - before.mean(), now - now.mean()  # small numbers keep their digits when squared
    mean_a, mean_b = cv2.blur(a, window), cv2.blur(b, window)
    # OpenCV 5 and 4 both: `blur` of float32 stays float32.
    spread_a = np.maximum(cv2.blur(a * a, window) - mean_a * mean_a - noise * noise, 0.0)
    spread_b = np.maximum(cv2.blur(b * b, window) - mean_b * mean_b - noise * noise, 0.0)
    shared = cv2.blur(a * b, window) - mean_a * mean_b
    weak = _PATTERN * noise * noise
    # Correlation, 1 where the pattern is the same at any contrast; two blank places are the same as well.
    alike = (shared + weak) / np.sqrt((spread_a + weak) * (spread_b + weak))
    return float(np.clip((1.0 - alike - _DEAD) / (_FULL - _DEAD), 0.0, 1.0).mean())
