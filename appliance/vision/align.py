"""From a face in a picture to an upright square crop: turned so that the line of the eyes is level."""

from __future__ import annotations

import math

import cv2
import numpy as np

from appliance.values import Face, Image

RIGHT_EYE, LEFT_EYE = 0, 1
"""Places of the person's own right and left eye among the keypoints."""

_SHARP = 2.0
"""More pixels than this for one of the crop are averaged first: sampling alone would alias."""


def roll_of(face: Face) -> float:
    """How far the line of the eyes is turned, in degrees, clockwise positive; 0 without keypoints."""
    if len(face.keypoints) <= LEFT_EYE:
        return 0.0
    (rx, ry), (lx, ly) = face.keypoints[RIGHT_EYE], face.keypoints[LEFT_EYE]
    return math.degrees(math.atan2(ly - ry, lx - rx))


def upright_crop(image: Image, face: Face, size: int, *, margin: float, lift: float) -> Image:
    """The face as a `size` by `size` square, eyes level, edges repeated where it reaches over the picture.

    The square's side is the larger side of the box times `margin`; its middle lies `lift` of that side
    above the middle of the box (detector boxes end at the brows, expression models want the forehead).
    """
    roll = roll_of(face)
    side = max(face.box.width, face.box.height, 1.0) * margin
    cx, cy = face.box.center
    cx += lift * side * math.sin(math.radians(roll))
    cy -= lift * side * math.cos(math.radians(roll))
    # The middle of a pixel is its coordinate plus a half.
    image, cx, cy, side = _averaged(image, cx, cy, side, size)
    turn = cv2.getRotationMatrix2D((cx - 0.5, cy - 0.5), roll, size / side)
    turn[0, 2] += size / 2 - cx
    turn[1, 2] += size / 2 - cy
    crop = cv2.warpAffine(image, turn, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, np.uint8)


def prepared(crop: Image, colour: str, size: int) -> Image:
    """A picture that is one face, as `size` by `size` pixels in the channels wanted (`grey` or `rgb`)."""
    method = cv2.INTER_AREA if min(crop.shape[:2]) > size else cv2.INTER_LINEAR
    square = np.asarray(cv2.resize(crop, (size, size), interpolation=method), np.uint8)
    flat = square.ndim == 2
    if colour == "grey":
        return square if flat else np.asarray(cv2.cvtColor(square, cv2.COLOR_BGR2GRAY), np.uint8)
    return np.asarray(cv2.cvtColor(square, cv2.COLOR_GRAY2RGB if flat else cv2.COLOR_BGR2RGB), np.uint8)


def _averaged(
    image: Image, cx: float, cy: float, side: float, size: int
) -> tuple[Image, float, float, float]:
    """The neighbourhood of the square, shrunk if the face is large; with the square's place in it."""
    reach = side * 0.75  # half the diagonal of the square, and a little
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(v, 0, width)) for v in (cx - reach, cx + reach + 1))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (cy - reach, cy + reach + 1))
    if x1 - x0 < 1 or y1 - y0 < 1:  # Wholly outside: the nearest edge pixel stands for it.
        x0, y0 = min(x0, width - 1), min(y0, height - 1)
        x1, y1 = x0 + 1, y0 + 1
    part, cx, cy = image[y0:y1, x0:x1], cx - x0, cy - y0
    shrink = side / (size * _SHARP)
    if shrink > 1:
        to = max(1, round(part.shape[1] / shrink)), max(1, round(part.shape[0] / shrink))
        fx, fy = to[0] / part.shape[1], to[1] / part.shape[0]
        part = np.asarray(cv2.resize(part, to, interpolation=cv2.INTER_AREA), np.uint8)
        cx, cy, side = cx * fx, cy * fy, side * (fx + fy) / 2
    return part, cx, cy, side
