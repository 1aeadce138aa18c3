"""Faces whose mouth or eyes are covered, and faces with an object next to them: drawn and photographed.

Objects are drawn on grey 48x48 faces that fill the picture as in FER2013: eyes at two fifths of the height,
mouth at three quarters.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import cv2
import numpy as np
from labelled_faces import SIDE

EYES, MOUTH = (0.5, 0.39), (0.5, 0.76)
BESIDE = ((0.08, 0.5), (0.92, 0.5), (0.5, 0.06), (0.1, 0.9), (0.9, 0.9), (0.5, 1.02))
"""Places where an object does not hide the mouth or the eyes."""

SMALLEST_PX = 20
"""Photographed faces narrower than this are left out: a covering is not visible in them."""


def cover(face: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy of a face with the mouth or eyes hidden behind a hand, a mask, dark glasses or an object."""
    if random.random() < 0.4:
        if random.random() < 0.5:
            return _dark_glasses(face, random)
        return _thing(face, random, EYES, (random.uniform(0.62, 1.0), random.uniform(0.2, 0.34)))
    return _thing(face, random, MOUTH, (random.uniform(0.45, 1.0), random.uniform(0.26, 0.52)))


def decorate(face: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A copy of a face with something that hides neither: a hand next to it, clear glasses."""
    if random.random() < 0.35:
        return _glasses(face, random)
    place = BESIDE[random.integers(len(BESIDE))]
    return _thing(face, random, place, (random.uniform(0.15, 0.3), random.uniform(0.12, 0.3)))


def photographed(data: Path, side: int = SIDE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Faces of the data set `facedet/facemask_cc0`: grey faces, 1 if masked, and which are held out.

    The faces of one picture are either all held out or all used.
    """
    folder = data / "facedet" / "facemask_cc0"
    faces, covered, kept = [], [], []
    for entry in json.loads((folder / "annotations.json").read_text(encoding="utf-8"))["images"]:
        grey = cv2.imread(str(folder / entry["file"]), cv2.IMREAD_GRAYSCALE)
        for face in entry["faces"]:
            if min(face["xywh_px"][2:]) < SMALLEST_PX:
                continue
            faces.append(_cut_out(grey, face["xywh_px"], side))
            covered.append(face["cls"] != "face")
            kept.append(zlib.crc32(entry["file"].encode()) % 3 == 0)
    return np.stack(faces), np.array(covered, np.float32), np.array(kept)


def _cut_out(grey: np.ndarray, box: list[float], side: int) -> np.ndarray:
    x, y, width, height = box
    reach = 1.1 * max(width, height) / 2
    scale = side / (2 * reach)
    matrix = np.array([[scale, 0, side / 2 - scale * (x + width / 2)], [0, scale, 0.0]])
    matrix[1, 2] = side / 2 - scale * (y + height / 2)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    if scale < 0.5:  # warping does not average: shrink the picture first
        factor = 2 * scale
        grey = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=method)
        matrix[:, :2] /= factor
    return cv2.warpAffine(grey, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _thing(
    face: np.ndarray, random: np.random.Generator, place: tuple[float, float], extent: tuple[float, float]
) -> np.ndarray:
    """An opaque object with its centre near `place` and of size `extent`, all in shares of the side."""
    x, y = (SIDE * (at + random.uniform(-0.05, 0.05)) for at in place)
    half = SIDE * extent[0] / 2, SIDE * extent[1] / 2
    mask = np.zeros((SIDE, SIDE), np.float32)
    angle = random.uniform(-25, 25)
    if random.random() < 0.5:
        size = (2 * half[0], 2 * half[1])
        cv2.fillPoly(mask, [cv2.boxPoints(((x, y), size, angle)).astype(np.int32)], 1.0)
    else:
        cv2.ellipse(mask, ((x, y), (2.2 * half[0], 2.2 * half[1]), angle), 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), random.uniform(0.4, 0.9))
    return np.clip(face * (1 - mask) + _surface(face, random) * mask, 0, 255).astype(np.uint8)


def _surface(face: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The covering surface: skin with the lines of fingers, cloth with folds, or an object."""
    skin = float(np.median(face[20:32, 8:40]))
    kind = random.random()
    level = skin + random.normal(0, 14) if kind < 0.5 else random.uniform(0, 255)
    across, down = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE))
    shade = random.normal(0, 18, 2)
    surface = level + shade[0] * across + shade[1] * down
    if kind < 0.85:  # fingers or folds: parallel darker lines
        angle, period = random.uniform(0, np.pi), random.uniform(5, 10)
        wave = np.cos((across * np.cos(angle) + down * np.sin(angle)) * SIDE * np.pi / period)
        surface -= random.uniform(6, 34) * np.clip(wave - 0.6, 0, 1) / 0.4
    return surface + cv2.GaussianBlur(random.normal(0, 10, (SIDE, SIDE)), (0, 0), 1.0)


def _eye_places(random: np.random.Generator) -> list[tuple[float, float]]:
    x, y = SIDE * (EYES[0] + random.uniform(-0.03, 0.03)), SIDE * (EYES[1] + random.uniform(-0.03, 0.03))
    apart = SIDE * random.uniform(0.17, 0.22)
    return [(x - apart, y), (x + apart, y)]


def _dark_glasses(face: np.ndarray, random: np.random.Generator) -> np.ndarray:
    drawn, size = face.copy(), (SIDE * random.uniform(0.28, 0.38), SIDE * random.uniform(0.18, 0.28))
    level = random.uniform(0, 60)
    for place in _eye_places(random):
        cv2.ellipse(drawn, (place, size, random.uniform(-8, 8)), level, -1, cv2.LINE_AA)
    return drawn


def _glasses(face: np.ndarray, random: np.random.Generator) -> np.ndarray:
    drawn, size = face.copy(), (SIDE * random.uniform(0.28, 0.38), SIDE * random.uniform(0.2, 0.3))
    level, places = random.uniform(0, 120), _eye_places(random)
    for place in places:
        cv2.ellipse(drawn, (place, size, 0), level, 1, cv2.LINE_AA)
    y = round(places[0][1])
    cv2.line(drawn, (round(places[0][0] + size[0] / 2), y), (round(places[1][0] - size[0] / 2), y), level, 1)
    return drawn
