"""How far the camera moved between two pictures, seen by the background, which everybody shares.

Only shifts are looked for: a camera that is panned, or that shakes. People are left out, and most parts of
the background must agree, so that nobody who moves is taken for a camera that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Floats

_HALF = 2
"""Searched at half the size of the small picture."""

_DETAIL_PX = 9
"""Light that changes over more pixels than this is not detail."""

_CALM = 0.1
"""Detail that changed by less than this share of itself is where it was: nothing to search for."""

_BLOCKS = (4, 3)
"""The picture is judged in so many blocks across and down."""

_LEAST_DETAIL = 4.0
"""A block with a smaller mean square of detail, in grey levels, is blank and has no say."""

_LEAST_SEEN = 0.3
"""A block of which people leave less than this has no say."""

_LEAST_VOICES, _AGREED, _BETTER = 3, 0.7, 0.5
"""So many blocks must have a say, this share of them agree: the shift leaves less than half of the change."""

_LEAST_PX = 0.1
"""A smaller shift is none."""

_MOST = 0.25
"""Nor is one by more than this share of the picture: it cannot be told from another scene."""

_STEPS = 2


def camera_shift(before: Floats, now: Floats, faces: Sequence[Box]) -> tuple[float, float]:
    """How far the background moved right and down, in pixels; (0, 0) if it did not, or nobody can tell."""
    height, width = now.shape[0] // _HALF, now.shape[1] // _HALF
    if min(height, width) < 4 * _DETAIL_PX:
        return 0.0, 0.0
    seen = _background((height, width), faces)
    old, new = _detail(before, (width, height)), _detail(now, (width, height))
    unmoved, energy = _blocks((new - old) ** 2 * seen), _blocks(new**2 * seen)
    coverage = _blocks(seen)
    voices = (coverage >= _LEAST_SEEN) & (energy >= _LEAST_DETAIL * coverage)
    if voices.sum() < _LEAST_VOICES or median((unmoved[voices] / energy[voices]).tolist()) < _CALM**2 * 2:
        return 0.0, 0.0
    dx, dy = _refined(old, new, seen, _coarse(old, new, seen))
    if max(abs(dx), abs(dy)) * _HALF < _LEAST_PX or abs(dx) > _MOST * width or abs(dy) > _MOST * height:
        return 0.0, 0.0
    moved = _blocks((new - _shifted(old, dx, dy)) ** 2 * seen)
    agreed = float(np.mean(moved[voices] < _BETTER * unmoved[voices]))
    return (dx * _HALF, dy * _HALF) if agreed >= _AGREED else (0.0, 0.0)


def _background(shape: tuple[int, int], faces: Sequence[Box]) -> Floats:
    """1 where the background is, 0 for people: a head with some room, and all below, three faces wide."""
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
    """The shift that most of the background has, within about half a pixel (phase correlation)."""
    window = cv2.createHanningWindow((old.shape[1], old.shape[0]), cv2.CV_32F) * seen
    (dx, dy), _ = cv2.phaseCorrelate(old * window, new * window)
    return float(dx), float(dy)


def _shifted(picture: Floats, dx: float, dy: float) -> Floats:
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = picture.shape[1], picture.shape[0]
    return np.asarray(cv2.warpAffine(picture, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _refined(old: Floats, new: Floats, seen: Floats, shift: tuple[float, float]) -> tuple[float, float]:
    """The shift to a few hundredths of a pixel: least squares on the slopes (Lucas and Kanade)."""
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
