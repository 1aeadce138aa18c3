"""Camera movement between two pictures, from the background.

It estimates only a shift, as of a camera that pans or shakes. People are masked, and most parts of the
background must agree, so that a moving person is not mistaken for a moving camera.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Floats

_HALF = 2
"""The shift is searched at half the size of the small picture."""

_DETAIL_PX = 9
"""Changes of brightness over more pixels than this are not detail."""

_UNCHANGED = 0.1
"""Detail that changed by less than this share of itself did not move."""

_BLOCKS = (4, 3)
"""Blocks across and down in which the picture is compared."""

_LEAST_DETAIL = 4.0
"""A block with a smaller mean square of detail, in grey levels, is blank and does not count."""

_LEAST_SEEN = 0.3
"""A block with a smaller share of background does not count."""

_MIN_BLOCKS, _AGREEING, _BETTER = 3, 0.7, 0.5
"""This many blocks must count, and in this share of them the shift must halve the change."""

_LEAST_PX = 0.1
"""A smaller shift, in pixels, counts as none."""

_MOST = 0.25
"""A shift of more than this share of the picture counts as none too: it may be another scene."""

_STEPS = 2


def camera_shift(before: Floats, now: Floats, faces: Sequence[Box]) -> tuple[float, float]:
    """Shift of the background right and down, in pixels; (0, 0) if there is none, or it is unknown.

    `before`, `now`: grey levels, float32, the same shape (height, width); `faces`: boxes in their pixels.
    """
    height, width = now.shape[0] // _HALF, now.shape[1] // _HALF
    if min(height, width) < 4 * _DETAIL_PX:
        return 0.0, 0.0
    seen = _background((height, width), faces)
    old, new = _detail(before, (width, height)), _detail(now, (width, height))
    unmoved, energy = _blocks((new - old) ** 2 * seen), _blocks(new**2 * seen)
    coverage = _blocks(seen)
    counted = (coverage >= _LEAST_SEEN) & (energy >= _LEAST_DETAIL * coverage)
    change = (unmoved[counted] / energy[counted]).tolist()
    if len(change) < _MIN_BLOCKS or median(change) < _UNCHANGED**2 * 2:
        return 0.0, 0.0
    dx, dy = _refined(old, new, seen, _coarse(old, new, seen))
    if max(abs(dx), abs(dy)) * _HALF < _LEAST_PX or abs(dx) > _MOST * width or abs(dy) > _MOST * height:
        return 0.0, 0.0
    moved = _blocks((new - _shifted(old, dx, dy)) ** 2 * seen)
    agreeing = float(np.mean(moved[counted] < _BETTER * unmoved[counted]))
    return (dx * _HALF, dy * _HALF) if agreeing >= _AGREEING else (0.0, 0.0)


def _background(shape: tuple[int, int], faces: Sequence[Box]) -> Floats:
    """Mask: 1 for background, 0 for people (head with a margin, and everything below, three faces wide)."""
    seen = np.ones(shape, np.float32)
    for box in faces:
        side = box.width
        left, right = (box.center[0] + sign * 1.5 * side for sign in (-1, 1))
        rows = slice(max(0, int((box.y - 0.5 * side) / _HALF)), None)
        seen[rows, max(0, int(left / _HALF)) : max(0, int(right / _HALF) + 1)] = 0.0
    return seen


def _detail(picture: Floats, size: tuple[int, int]) -> Floats:
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small - cv2.blur(small, (_DETAIL_PX, _DETAIL_PX)), np.float32)


def _blocks(values: Floats) -> NDArray[np.float32]:
    """The mean of each block."""
    return np.asarray(cv2.resize(values, _BLOCKS, interpolation=cv2.INTER_AREA), np.float32)


def _coarse(old: Floats, new: Floats, seen: Floats) -> tuple[float, float]:
    """The shift of most of the background, to about half a pixel (phase correlation)."""
    window = cv2.createHanningWindow((old.shape[1], old.shape[0]), cv2.CV_32F) * seen
    (dx, dy), _ = cv2.phaseCorrelate(old * window, new * window)
    return float(dx), float(dy)


def _shifted(picture: Floats, dx: float, dy: float) -> Floats:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = picture.shape[1], picture.shape[0]
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _refined(old: Floats, new: Floats, seen: Floats, shift: tuple[float, float]) -> tuple[float, float]:
    """The shift to a few hundredths of a pixel: least squares on the slopes (Lucas and Kanade, 1981)."""
    dx, dy = shift
    for _ in range(_STEPS):
        moved = _shifted(old, dx, dy)
        across = (cv2.Sobel(moved, cv2.CV_32F, 1, 0, ksize=1, scale=0.5) * seen).ravel()
        down = (cv2.Sobel(moved, cv2.CV_32F, 0, 1, ksize=1, scale=0.5) * seen).ravel()
        error = (new - moved).ravel()
        xx, xy, yy = float(across @ across), float(across @ down), float(down @ down)
        wrong_x, wrong_y = float(across @ error), float(down @ error)
        # Two equations with two unknowns, solved by Cramer's rule.
        determinant = xx * yy - xy * xy
        if determinant <= 1e-6:
            break
        dx -= (yy * wrong_x - xy * wrong_y) / determinant
        dy -= (xx * wrong_y - xy * wrong_x) / determinant
    return dx, dy
