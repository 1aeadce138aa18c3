"""The scene of the camera stand-ins: pictures that differ from frame to frame, and a plug to pull."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from appliance.values import Image


class Scene:
    """A bench with one camera, shared by a test and its stand-in."""

    def __init__(self) -> None:
        self.plugged = True
        self.delivers = True
        self.busy = False
        self.taken = 0
        self.started = 0
        self.open = 0
        self.on_the_wire: Callable[[bytes], bytes] = lambda jpeg: jpeg
        """What arrives of a picture that is sent as JPEG."""

    def picture(self, number: int, width: int = 64, height: int = 48) -> Image:
        """The picture with this number: blue on the left, red on the right, a moving green bar."""
        image = np.zeros((48, 64, 3), np.uint8)
        image[:, :32, 0] = 250
        image[:, 32:, 2] = 250
        image[(number * 3) % 44 :][:4, :, 1] = 200
        return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)

    def next_picture(self, width: int, height: int) -> Image:
        self.taken += 1
        return self.picture(self.taken - 1, width, height)
