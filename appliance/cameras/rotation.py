"""Turned and mirrored pictures: for a camera that is mounted sideways, upside down, or behind a mirror."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from appliance.ports import Camera
from appliance.values import Frame, Image

Rotation = Literal[0, 90, 180, 270, "mirror", "mirror-90", "mirror-180", "mirror-270"]
"""Degrees clockwise. `mirror`: left and right are swapped, before the picture is turned."""

_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Rotatable(BaseModel):
    """Settings of a camera whose pictures can be turned; those of each backend are derived from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotate: Rotation = Field(
        0,
        description="Degrees by which to turn the picture clockwise; `mirror` first swaps left and right.",
    )


class RotatedCamera:
    """A camera whose pictures are turned; everything else is the camera's own."""

    def __init__(self, camera: Camera, rotation: Rotation) -> None:
        self.needs_consent = camera.needs_consent
        self.missing, self.open = camera.missing, camera.open
        self.close, self.forget = camera.close, camera.forget
        self._camera, self._rotation = camera, rotation

    def read(self, timeout: float) -> Frame:
        """The next frame, turned; see `Camera.read`."""
        frame = self._camera.read(timeout)
        return replace(frame, image=rotated(frame.image, self._rotation))


def rotated(image: Image, rotation: Rotation) -> Image:
    """A picture turned, in memory of its own; for 90 and 270 width and height change places."""
    degrees = int(str(rotation).removeprefix("mirror").lstrip("-") or 0)
    if "mirror" in str(rotation):
        image = np.asarray(cv2.flip(image, 1), np.uint8)
    return np.asarray(cv2.rotate(image, _TURNS[degrees]), np.uint8) if degrees in _TURNS else image
