"""Scenes for calibrating and evaluating the detectors, made from a folder of pictures with known faces.

Half of the pictures, by a hash of the name, are for calibration; the other half are only for evaluation. The
scenes are the same for the same folder, side and seed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

SMALLEST, LARGEST = 0.03, 0.60
"""The width of a scene's main face is between these shares of the square, uniform on a log scale."""


@dataclass(frozen=True)
class Picture:
    """One picture and its faces as (x, y, width, height) in its pixels."""

    path: Path
    faces: tuple[tuple[float, float, float, float], ...]

    @property
    def calibrates(self) -> bool:
        """Whether it belongs to the half for calibration."""
        return hashlib.sha256(self.path.name.encode()).digest()[0] % 2 == 0


def pictures(data: Path) -> list[Picture]:
    """All pictures below `data`/facedet that have faces, by name."""
    found = [*_annotated(data / "facedet/facemask_cc0"), *_dlib(data / "facedet/dlib_voc")]
    if not found:
        raise FileNotFoundError(f"{data}/facedet: no annotated pictures")
    return sorted(found, key=lambda picture: picture.path.name)


def make(chosen: list[Picture], side: int, count: int, seed: int, *, rough: bool) -> np.ndarray:
    """`count` scenes, (count, side, side, 3) blue-green-red bytes.

    A third are full pictures in a black square, the others squares around a face. `rough`: with changes of
    light and with noise, and one in twenty dark or blank, like a camera's picture before the interview.
    """
    random = np.random.default_rng(seed)
    scenes = np.zeros((count, side, side, 3), np.uint8)
    for index in range(count):
        picture = chosen[index % len(chosen)]
        if rough and index % 20 == 19:
            scenes[index] = _blank(side, random)
            continue
        image = cv2.imread(str(picture.path), cv2.IMREAD_COLOR)
        whole = random.random() < 1 / 3
        scene = _square(image, side) if whole else _round_face(image, picture, side, random)
        if random.random() < 0.5:
            scene = scene[:, ::-1]
        scenes[index] = _roughened(scene, random) if rough else scene
    return scenes


def values(scenes: np.ndarray) -> np.ndarray:
    """Scenes as input of the float detectors: red-green-blue, float32, pixel 0 -> -1, pixel 255 -> 1."""
    return scenes[..., ::-1].astype(np.float32) * np.float32(2 / 255) - np.float32(1)


def _square(image: np.ndarray, side: int) -> np.ndarray:
    return _cut(image, image.shape[1] / 2, image.shape[0] / 2, max(image.shape[:2]), side)


def _round_face(image: np.ndarray, picture: Picture, side: int, random: np.random.Generator) -> np.ndarray:
    x, y, width, height = picture.faces[random.integers(len(picture.faces))]
    share = SMALLEST * (LARGEST / SMALLEST) ** random.random()
    # No larger than the full picture in its square: no camera gives a small picture in a black field.
    extent = min(max(width, height) / share, max(image.shape[:2]))
    left = _start(x, width, extent, image.shape[1], random)
    top = _start(y, height, extent, image.shape[0], random)
    return _cut(image, left + extent / 2, top + extent / 2, extent, side)


def _start(at: float, length: float, extent: float, whole: float, random: np.random.Generator) -> float:
    """The start of an interval of `extent` that contains a face at `at`, in the picture if possible."""
    if extent >= whole:
        return (whole - extent) / 2
    low, high = sorted((at + length - extent, at))
    return float(np.clip(random.uniform(low, high), 0, whole - extent))


def _cut(image: np.ndarray, x: float, y: float, extent: float, side: int) -> np.ndarray:
    """The square of `extent` pixels around (x, y), black outside the picture, at `side` pixels."""
    while extent > 3 * side:  # halve with averaging first: sampling alone would give grain
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        x, y, extent = x / 2, y / 2, extent / 2
    scale = side / extent
    shift = side / 2 - 0.5
    matrix = np.array([[scale, 0, shift - scale * (x - 0.5)], [0, scale, shift - scale * (y - 0.5)]])
    if scale < 0.75:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    return cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))


def _roughened(scene: np.ndarray, random: np.random.Generator) -> np.ndarray:
    light = np.clip(scene * random.uniform(0.35, 1.4) + random.uniform(-30, 30), 0, 255)
    noise = random.normal(0, random.uniform(0, 12), scene.shape)
    # The black around a letterboxed picture stays black, as in the appliance.
    return np.where(scene.any(axis=2, keepdims=True), np.clip(light + noise, 0, 255), 0).astype(np.uint8)


def _blank(side: int, random: np.random.Generator) -> np.ndarray:
    level, noise = random.choice([0, 8, 64, 128, 255]), random.uniform(0, 6)
    return np.clip(random.normal(level, noise, (side, side, 3)), 0, 255).astype(np.uint8)


def _annotated(folder: Path) -> Iterator[Picture]:
    listing = folder / "annotations.json"
    if listing.is_file():
        for entry in json.loads(listing.read_text(encoding="utf-8"))["images"]:
            faces = tuple(tuple(map(float, face["xywh_px"])) for face in entry["faces"])
            if faces:
                yield Picture(folder / entry["file"], faces)  # type: ignore[arg-type]


def _dlib(folder: Path) -> Iterator[Picture]:
    boxes: dict[str, list[tuple[float, float, float, float]]] = {}
    for listing in sorted(folder.glob("*_with_face_landmarks.xml")):
        name = ""
        for tag in re.findall(r"<(?:image|box) [^>]*>", listing.read_text(encoding="utf-8")):
            fields = dict(re.findall(r"(\w+)='([^']*)'", tag))
            if "file" in fields:
                name = fields["file"]
            else:
                x, y, width, height = (float(fields[key]) for key in ("left", "top", "width", "height"))
                boxes.setdefault(name, []).append((x, y, width, height))
    for name, faces in boxes.items():
        yield Picture(folder / name, tuple(faces))
