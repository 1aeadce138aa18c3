"""The setting by which any camera's pictures are rotated; `cameras.rotated` rotates them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Rotation = Literal[0, 90, 180, 270, "mirror", "mirror-90", "mirror-180", "mirror-270"]
"""Degrees clockwise. `mirror` swaps left and right before the rotation."""


class RotatableSettings(BaseModel):
    """Base of the settings of a camera whose pictures can be rotated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotate: Rotation = Field(
        0,
        description="Clockwise rotation of the picture in degrees; `mirror` first swaps left and right.",
    )
