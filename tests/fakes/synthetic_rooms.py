"""Synthetic video of rooms, with people whose position and size are known.

A person is part of a picture with a face in it, shrunk to a share of the frame's width and blended into a
drawn room. No two frames are the same: they have sensor noise, changing light and a camera that may pan. So
nothing that is tuned here can fit the pixels of a single picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Face, Floats, Image

WIDTH, HEIGHT = 1280, 720
_MARGIN = 160
"""Pixels by which the room is larger than the frame on each side, so that the camera can pan."""

Deep = NDArray[np.int16]
"""Pixels with headroom for noise and light."""


@dataclass(frozen=True)
class Cutout:
    """A person cut from a picture: `image` and, in its pixels, the `box` of the face."""

    image: Image
    box: Box


@dataclass(frozen=True)
class PlacedPerson:
    """A person in one frame; `share`: face width to frame width; `x`, `y`: centre of the face, 0 to 1.

    `away`: only the back of the head is visible, so no face can be found.
    """

    who: Cutout
    share: float
    x: float
    y: float = 0.45
    away: bool = False


@dataclass(frozen=True)
class Shot:
    """One frame: the picture and the boxes of the visible faces."""

    image: Image
    faces: tuple[Box, ...]


def cutout(image: Image, box: Box, room: float = 1.0) -> Cutout:
    """The person around a face: `room` face widths to each side, and more below for the body."""
    left, top = max(0, int(box.x - room * box.width)), max(0, int(box.y - 0.9 * box.height))
    right = min(image.shape[1], int(box.right + room * box.width))
    bottom = min(image.shape[0], int(box.bottom + 2.2 * box.height))
    return Cutout(image[top:bottom, left:right].copy(), box.moved(-left, -top))


def people_of(image: Image, find: Callable[[Image], Sequence[Face]]) -> list[Cutout]:
    """The two people in a picture of the demo clip, one in each half; `find` is any face detector."""
    middle = image.shape[1] // 2
    halves = [image[:, :middle], image[:, middle:]]
    return [cutout(half, max(find(half), key=lambda face: face.score).box) for half in halves]


class Room:
    """A drawn room. `seed` determines the walls, the furniture and the camera's noise."""

    def __init__(self, seed: int = 0, noise: float | None = None) -> None:
        self._rng = np.random.default_rng(seed)
        self._walls = _walls(self._rng)
        level = self._rng.uniform(1.5, 5.0) if noise is None else noise
        small = self._rng.normal(0, level, (HEIGHT // 2 + 64, WIDTH // 2 + 64, 3)).astype(np.int16)
        self._noise = np.tile(small, (2, 2, 1))

    def shot(self, people: Iterable[PlacedPerson] = (), pan: float = 0.0, light: float = 1.0) -> Shot:
        """The room with these people; `pan`: -1 to 1, how far the camera has turned; `light`: 1 is normal."""
        left = round(_MARGIN * (1 + pan))
        frame = self._walls[_MARGIN // 2 : _MARGIN // 2 + HEIGHT, left : left + WIDTH].copy()
        shown = []
        for person in people:
            box = _put(frame, replace(person, x=person.x - pan * _MARGIN / WIDTH))
            if not person.away:
                shown.append(box)
        x, y = self._rng.integers(0, 128, 2)
        noise = self._noise[y : y + HEIGHT, x : x + WIDTH]
        noisy = cv2.addWeighted(frame, light, noise, 1.0, 0.0, dtype=cv2.CV_8U)
        return Shot(np.asarray(noisy, np.uint8), tuple(shown))

    def video(
        self,
        frames: int,
        script: Callable[[int], Iterable[PlacedPerson]] = lambda _: (),
        *,
        moving: bool = True,
    ) -> Iterator[Shot]:
        """Yield `frames` frames with the people of `script`; `moving`: with changing light and a slow pan."""
        for number in range(frames):
            pan = 0.3 * float(np.sin(number / 40)) if moving else 0.0
            light = 1.0 + 0.12 * float(np.sin(number / 23)) if moving else 1.0
            yield self.shot(script(number), pan, light)


def _walls(rng: np.random.Generator) -> Deep:
    """An empty room, larger than a frame: lit walls, furniture, pictures, lamps, some texture."""
    height, width = HEIGHT + _MARGIN, WIDTH + 2 * _MARGIN
    wall = rng.uniform(70, 190, 3)
    across = np.linspace(rng.uniform(-30, 30), rng.uniform(-30, 30), width)[None, :, None]
    down = np.linspace(rng.uniform(-30, 30), rng.uniform(-30, 30), height)[:, None, None]
    room = np.ascontiguousarray((wall + across + down).astype(np.float32))
    for _ in range(int(rng.integers(6, 26))):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        w, h = (int(side) for side in rng.integers(15, 320, 2))
        colour = rng.uniform(20, 230, 3).tolist()
        thick = int(rng.choice([-1, -1, 3]))
        if rng.random() < 0.3:
            cv2.ellipse(room, (x, y), (w // 3, h // 3), float(rng.uniform(0, 180)), 0, 360, colour, thick)
        else:
            cv2.rectangle(room, (x, y), (x + w, y + h), colour, thick)
    for scale in (4, 32):
        grain = rng.normal(0, rng.uniform(1, 9), (height // scale, width // scale, 3)).astype(np.float32)
        room += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.GaussianBlur(room, (0, 0), float(rng.uniform(0.6, 2.5))), np.float32).astype(
        np.int16
    )


def _put(frame: Deep, person: PlacedPerson) -> Box:
    """Blend a person into a frame; returns the face's box in its pixels."""
    face = person.who.box
    scale = person.share * WIDTH / face.width
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    image = _back_of_head(person.who) if person.away else person.who.image
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=method).astype(np.float32)
    height, width = small.shape[:2]
    box = Box(face.x * scale, face.y * scale, face.width * scale, face.height * scale)
    left = round(person.x * WIDTH - box.center[0])
    top = round(person.y * HEIGHT - box.center[1])
    x0, y0, x1, y1 = max(0, left), max(0, top), min(WIDTH, left + width), min(HEIGHT, top + height)
    if x1 > x0 and y1 > y0:
        mask = _feather(height, width)[y0 - top : y1 - top, x0 - left : x1 - left]
        part = small[y0 - top : y1 - top, x0 - left : x1 - left]
        frame[y0:y1, x0:x1] = (frame[y0:y1, x0:x1] * (1 - mask) + part * mask).astype(np.int16)
    return box.moved(left, top)


def _feather(height: int, width: int) -> Floats:
    soft = max(2, int(0.06 * min(height, width)))
    mask = np.zeros((height, width), np.float32)
    mask[soft:-soft, soft:-soft] = 1
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), soft / 2), np.float32)[:, :, None]


def _back_of_head(who: Cutout) -> Image:
    image, (x, y) = who.image.copy(), who.box.center
    axes = round(0.62 * who.box.width), round(0.8 * who.box.height)
    cv2.ellipse(image, (round(x), round(y - 0.1 * who.box.height)), axes, 0, 0, 360, (38, 44, 52), -1)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(1.0, who.box.width / 40)), np.uint8)
