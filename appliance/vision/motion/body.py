"""How much the picture changes where a person's upper body is.

The region is compared with the same region a moment ago by local normalised correlation: in a small window
around each point, without mean brightness and contrast, so that changing light is not movement. The camera's
noise is subtracted.
"""

from __future__ import annotations

import cv2
import numpy as np

from appliance.values import Box, Floats
from appliance.vision.motion.frame_pair import FramePair

_WIDE, _HIGH, _GAP = 3.0, 2.5, 0.1
"""Width and height of the region in face widths, and its distance below the face's box."""

_LEAST_VISIBLE = 0.2
"""If a smaller share of the region is inside the picture, no body is visible."""

_CELLS = 16
"""Pixels to a face width at which the region is compared."""

_WINDOW = 7
"""Side of the correlation window in these pixels: not quite half a face."""

_PATTERN = 6.0
"""A pattern with a variance below this many times that of the noise hardly counts."""

_DEAD, _FULL = 0.15, 0.75
"""Decorrelation below the first is no change, above the second a complete one."""

_LEAST_PX = 4
"""A region with fewer pixels of the small picture, across or down, is not compared."""


def body_region(box: Box) -> Box:
    """The region of the upper body below a face, in the pixels of its box; it may extend past the edge."""
    side = box.width
    return Box(box.center[0] - _WIDE * side / 2, box.bottom + _GAP * side, _WIDE * side, _HIGH * side)


def body_change(pair: FramePair, face: Box) -> float | None:
    """Share of the upper body's region whose pattern changed between the two pictures, 0 to 1.

    None if too little of it is in the picture, or if there is no earlier picture. `face`: box in pixels of
    the frame.
    """
    scale = pair.scale
    region = body_region(Box(face.x * scale, face.y * scale, face.width * scale, face.height * scale))
    left, top = max(region.x, pair.clear.x), max(region.y, pair.clear.y)
    right, bottom = min(region.right, pair.clear.right), min(region.bottom, pair.clear.bottom)
    columns, rows = slice(round(left), round(right)), slice(round(top), round(bottom))
    if pair.before is None or (right - left) * (bottom - top) < _LEAST_VISIBLE * region.area:
        return None
    if columns.stop - columns.start < _LEAST_PX or rows.stop - rows.start < _LEAST_PX:
        return None
    finer = _CELLS / (face.width * scale)
    size = max(_LEAST_PX, round((right - left) * finer)), max(_LEAST_PX, round((bottom - top) * finer))
    method = cv2.INTER_AREA if finer < 1 else cv2.INTER_LINEAR
    before, now = (
        np.asarray(cv2.resize(picture[rows, columns], size, interpolation=method), np.float32)
        for picture in (pair.before, pair.now)
    )
    return _changed(before, now, pair.noise)


def _changed(before: Floats, now: Floats, noise: float) -> float:
    """Mean change of the patterns around all points, 0 to 1."""
    window = _WINDOW, _WINDOW
    a, b = before - before.mean(), now - now.mean()  # small numbers keep their precision when squared
    mean_a, mean_b = cv2.blur(a, window), cv2.blur(b, window)
    # In OpenCV 4 and 5, `blur` of float32 stays float32.
    spread_a = np.maximum(cv2.blur(a * a, window) - mean_a * mean_a - noise * noise, 0.0)
    spread_b = np.maximum(cv2.blur(b * b, window) - mean_b * mean_b - noise * noise, 0.0)
    shared = cv2.blur(a * b, window) - mean_a * mean_b
    weak = _PATTERN * noise * noise
    # Correlation: 1 where the pattern is the same at any contrast, and for two blank places.
    alike = (shared + weak) / np.sqrt((spread_a + weak) * (spread_b + weak))
    return float(np.clip((1.0 - alike - _DEAD) / (_FULL - _DEAD), 0.0, 1.0).mean())
