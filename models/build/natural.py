"""Pictures as the appliance passes them to its detectors, for comparing two detectors.

Four kinds: full pictures; close crops, squares around a face; rooms with one person in them, full and (for
the full range) in tiles; and frames of videos. The same folder always gives the same pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from scenes import Picture

from appliance.values import Box, Image
from appliance.vision.detection import regions

SEED = 7
NOISE = 2.5
"""Standard deviation of a camera's noise, in levels of 255."""

WIDTH, HEIGHT = 1280, 720
SHARES = (0.20, 0.10)
"""Width of a face in a room, as a share of the picture's width."""

SMALLEST, LARGE = 16, 45
"""Faces for close crops and for rooms have at least this width in pixels."""

LOOKS = {False: (1.6, 2.0), True: (2.5, 4.0)}
"""Sides of close crops in face widths; the key: whether they are for the full-range detector."""

FRAMES = 10
"""One in this many frames of a video is used."""


def kinds(pictures: list[Picture], videos: Path, *, full: bool) -> Iterator[tuple[str, Iterable[Image]]]:
    """Each kind's name and its pictures; `full`: the pictures for the full-range detector."""
    yield "full pictures", (_read(picture) for picture in pictures)
    yield "full pictures, mirrored", (_read(picture)[:, ::-1] for picture in pictures)
    yield "full pictures, camera noise", _noisy(_read(picture) for picture in pictures)
    yield "close crops", closer_looks(pictures, LOOKS[full])
    for share in SHARES:
        yield f"rooms, face of {share:.0%}", (room[0] for room in rooms(pictures, share))
        if full:
            yield f"tiles of rooms, face of {share:.0%}", _tiles(rooms(pictures, share))
    for video in sorted(videos.glob("*.mp4")):
        yield f"video {video.stem}", frames(video)


def closer_looks(pictures: list[Picture], factors: tuple[float, ...]) -> Iterator[Image]:
    """Squares around every face that is large enough, cut off at the picture's edges."""
    for picture in pictures:
        image = _read(picture)
        for face in picture.faces:
            for factor in factors if face[2] >= SMALLEST else ():
                part = regions.square_around(Box(*face), factor, (image.shape[1], image.shape[0]))
                if part is not None:
                    yield part.of(image)


def rooms(pictures: list[Picture], share: float) -> Iterator[tuple[Image, Box]]:
    """Every picture of one person twice: blurred as a room, with the sharp person somewhere in it."""
    random = np.random.default_rng(SEED)
    for picture in pictures:
        x, y, width, height = picture.faces[0]
        if len(picture.faces) == 1 and width > LARGE and min(x, y) > 10:
            image, box = _read(picture), Box(x, y, width, height)
            yield _room(image, box, share, random)
            yield _room(image, box, share, random)


def frames(video: Path) -> Iterator[Image]:
    """Every tenth frame of a video."""
    capture, index = cv2.VideoCapture(str(video)), 0
    while capture.grab():
        if index % FRAMES == 0:
            yield np.asarray(capture.retrieve()[1], np.uint8)
        index += 1
    capture.release()


def _room(image: Image, face: Box, share: float, random: np.random.Generator) -> tuple[Image, Box]:
    scale = share * WIDTH / face.width
    left, top = max(0, int(face.x - 1.2 * face.width)), max(0, int(face.y - 1.2 * face.height))
    person = image[top : int(face.y + 3.5 * face.height), left : int(face.x + 2.2 * face.width)]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    person = cv2.resize(person, None, fx=scale, fy=scale, interpolation=method)
    blurred = cv2.GaussianBlur(cv2.resize(image, (160, 90)), (0, 0), 14)
    room = cv2.resize(blurred, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    at = random.uniform((0.12, 0.2), (0.88, 0.7)) * (WIDTH, HEIGHT)
    x, y = (at - scale * (np.array(face.center) - (left, top))).astype(int)
    shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
    edge = max(2, int(0.06 * min(person.shape[:2])))
    mask = np.zeros(person.shape[:2], np.float32)
    mask[edge:-edge, edge:-edge] = 1
    mask = cv2.warpAffine(cv2.GaussianBlur(mask, (0, 0), edge / 2), shift, (WIDTH, HEIGHT))[..., None]
    room += mask * (cv2.warpAffine(person, shift, (WIDTH, HEIGHT)) - room)
    room = np.clip(room + random.normal(0, NOISE, room.shape), 0, 255).astype(np.uint8)
    return room, Box(
        x + scale * (face.x - left), y + scale * (face.y - top), scale * face.width, scale * face.height
    )


def _tiles(made: Iterable[tuple[Image, Box]]) -> Iterator[Image]:
    """The tiles that show part of the person's face."""
    for image, box in made:
        for tile in regions.tiles((WIDTH, HEIGHT)):
            if tile.left < box.right and box.x < tile.right and tile.top < box.bottom and box.y < tile.bottom:
                yield tile.of(image)


def _noisy(images: Iterable[Image]) -> Iterator[Image]:
    random = np.random.default_rng(SEED)
    for image in images:
        yield np.clip(image + random.normal(0, NOISE, image.shape), 0, 255).astype(np.uint8)


def _read(picture: Picture) -> Image:
    return np.asarray(cv2.imread(str(picture.path), cv2.IMREAD_COLOR), np.uint8)
