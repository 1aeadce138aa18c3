"""Alignment: from a face in a picture to an upright square crop with level eyes."""

from __future__ import annotations

import math

import cv2
import numpy as np

from appliance.values import Face, Image

RIGHT_EYE, LEFT_EYE = 0, 1
"""Indices of the person's right and left eye among the keypoints."""


def eye_line_roll(face: Face) -> float:
    """Angle of the line through the eyes in degrees, clockwise positive; 0 without keypoints."""
    if len(face.keypoints) <= LEFT_EYE:
        return 0.0
    (rx, ry), (lx, ly) = face.keypoints[RIGHT_EYE], face.keypoints[LEFT_EYE]
    return math.degrees(math.atan2(ly - ry, lx - rx))


def upright_crop(image: Image, face: Face, size: int, *, margin: float, lift: float) -> Image:
    """The face as a uint8 square of `size` by `size` pixels, eyes level; the picture's edge is repeated.

    The square's side is the larger side of the box times `margin`. Its centre is `lift` of that side above
    the box's centre: detector boxes end at the brows, expression models need the forehead.
    """
    roll = eye_line_roll(face)
    side = max(face.box.width, face.box.height, 1.0) * margin
    cx, cy = face.box.center
    cx += lift * side * math.sin(math.radians(roll))
    cy -= lift * side * math.cos(math.radians(roll))
    part, cx, cy = _neighbourhood(image, cx, cy, side, roll)
    # Sampling causes aliasing; averaging by an odd factor costs more than the classifier; halving is cheap.
    while side >= 2 * size and min(part.shape[:2]) >= 2:
        part, cx, cy, side = _halved(part), cx / 2, cy / 2, side / 2
    turn = cv2.getRotationMatrix2D((cx - 0.5, cy - 0.5), roll, size / side)
    # A pixel's centre is its index plus a half.
    turn[0, 2] += size / 2 - cx
    turn[1, 2] += size / 2 - cy
    crop = cv2.warpAffine(part, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def resize_for_model(crop: Image, colour: str, size: int) -> Image:
    """A grey or blue-green-red crop as `size` by `size` pixels, converted to `colour` (`grey` or `rgb`)."""
    method = cv2.INTER_AREA if min(crop.shape[:2]) > size else cv2.INTER_LINEAR
    square = np.asarray(cv2.resize(crop, (size, size), interpolation=method), np.uint8)
    flat = square.ndim == 2
    if colour == "grey":
        return square if flat else np.asarray(cv2.cvtColor(square, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_GRAY2RGB if flat else cv2.COLOR_BGR2RGB), np.uint8)


def _neighbourhood(
    image: Image, cx: float, cy: float, side: float, roll: float
) -> tuple[Image, float, float]:
    """The part of the picture that the rotated square covers, and the square's centre in it."""
    turned = math.radians(roll)
    reach = side / 2 * (abs(math.cos(turned)) + abs(math.sin(turned))) + 2
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(x, 0, width)) for x in (cx - reach, cx + reach))
    y0, y1 = (int(np.clip(y, 0, height)) for y in (cy - reach, cy + reach))
    if x1 <= x0 or y1 <= y0:  # entirely outside: the nearest edge pixel
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        x1, y1 = x0 + 1, y0 + 1
    return image[y0:y1, x0:x1], cx - x0, cy - y0


def _halved(image: Image) -> Image:
    """The picture at half its size, averaged over 2 by 2 pixels; an odd last row or column is dropped."""
    height, width = image.shape[0] // 2, image.shape[1] // 2
    even = image[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
