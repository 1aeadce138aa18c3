"""Whether a face can be read at all; if not, why, in one word."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.values import Face, Image, Pose


@dataclass(frozen=True)
class Limits:
    """From where on nothing is claimed."""

    min_width: float = 0.0


def unreadable(face: Face, pose: Pose | None, crop: Image, limits: Limits) -> str | None:
    """The reason why this face cannot be read, or None. `crop` is the upright crop that is classified."""
    if face.box.width < limits.min_width:
        return "small"
    return None
