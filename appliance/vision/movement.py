"""How a person moves: nods, shakes, the speed of the head, and the upper body."""

from __future__ import annotations

from appliance.values import Face, Image, Movement, Pose


class Mover:
    """Follows the movement of one person."""

    def add(self, image: Image, face: Face, pose: Pose | None, now: float) -> Movement | None:
        """The movement within the last second; `image` is the whole blue-green-red frame taken at `now`."""
        return None
