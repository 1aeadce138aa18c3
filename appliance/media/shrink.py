"""Shrinks frames that have more pixels than 1080p, as early as their decoder can."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable

import cv2
import numpy as np

from appliance.values import Frame, Image

MAX_AREA = 1920 * 1080
"""Most pixels of a frame for picture and vision."""


def working_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of a frame after shrinking: the same shape, at most `MAX_AREA` pixels."""
    factor = math.sqrt(MAX_AREA / (width * height))
    if factor >= 1:
        return width, height
    return max(1, math.floor(width * factor)), max(1, math.floor(height * factor))


def reduced_size(width: int, height: int) -> tuple[int, int]:
    """The smallest size, halved as often as possible, that is not smaller than `working_size`.

    JPEG decoders halve almost for free; other factors cost more than decoding and resizing.
    """
    least_width, least_height = working_size(width, height)
    while (width + 1) // 2 >= least_width and (height + 1) // 2 >= least_height and least_width < width:
        width, height = (width + 1) // 2, (height + 1) // 2
    return width, height


def shrink(image: Image, size: tuple[int, int]) -> Image:
    """The picture at the working size of a source of this (width, height); itself if it fits."""
    wanted = working_size(*size)
    if (image.shape[1], image.shape[0]) == wanted:
        return image
    return np.asarray(cv2.resize(image, wanted, interpolation=cv2.INTER_AREA), np.uint8)


def once(make: Callable[[], Image]) -> Callable[[], Image]:
    """Calls `make` at the first call only, in whichever thread that is; others wait for its picture."""
    lock, made = threading.Lock(), list[Image]()

    def get() -> Image:
        with lock:
            if not made:
                made.append(make())
            return made[0]

    return get


def shrunk_frame(image: Image, size: tuple[int, int], full_size: Callable[[], Image]) -> Frame:
    """A frame without number and time, shrunk by its decoder.

    `size`: width and height before; `full_size`: decodes the picture again, and is called once at most, since
    decoders are not safe for several threads.
    """
    return Frame(0, 0.0, image, source_size=size, full_size=once(full_size))


def frame_of(image: Image, jpeg: bytes | None = None) -> Frame:
    """A frame without number and time; shrunk if the picture is too large, and then without its JPEG."""
    size = int(image.shape[1]), int(image.shape[0])
    if working_size(*size) == size:
        return Frame(0, 0.0, image, jpeg=jpeg)
    image.flags.writeable = False
    return shrunk_frame(shrink(image, size), size, lambda: image)
