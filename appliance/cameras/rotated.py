"""Rotates and mirrors pictures, for a camera mounted sideways, upside down, or behind a mirror."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from appliance.cameras.rotation import Rotation
from appliance.media.shrink import once
from appliance.ports import Camera
from appliance.values import Frame, Image

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class RotatedCamera:
    """A camera whose pictures are rotated, and otherwise unchanged."""

    def __init__(self, camera: Camera, rotation: Rotation) -> None:
        self.needs_consent = camera.needs_consent
        self.missing, self.open = camera.missing, camera.open
        self.close, self.forget = camera.close, camera.forget
        self._camera, self._rotation = camera, rotation

    def read(self, timeout: float) -> Frame:
        """The next frame, rotated; see `Camera.read`."""
        frame = self._camera.read(timeout)
        image, size, full = rotate_image(frame.image, self._rotation), frame.source_size, frame.full_size
        if size and image.shape[1] != frame.image.shape[1]:
            size = size[1], size[0]
        rotated = once(lambda: rotate_image(full(), self._rotation)) if full else None
        return replace(frame, image=image, jpeg=None, source_size=size, full_size=rotated)


def rotate_image(image: Image, rotation: Rotation) -> Image:
    """A rotated copy of a picture; 90 and 270 degrees swap width and height."""
    degrees = int(str(rotation).removeprefix("mirror").lstrip("-") or 0)
    if "mirror" in str(rotation):
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    return np.asarray(cv2.rotate(image, _TURNS[degrees]), np.uint8) if degrees in _TURNS else image
