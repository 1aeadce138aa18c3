"""Of too many people, who is read."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.values import Box, Face
from appliance.vision.detection.nms import same_face

STEADY = 2.0
"""A newcomer must be this many times as large in area to take the place of somebody who is followed."""


def chosen(faces: Sequence[Face], followed: Sequence[Box], limit: int) -> list[Face]:
    """At most `limit` faces: the largest, where those `followed` (where they should be) count `STEADY` times.

    Without that, of two people of about the same size now one and now the other would be read.
    """
    if len(faces) <= limit:
        return list(faces)

    def claim(face: Face) -> float:
        known = any(same_face(face.box, place) for place in followed)
        return face.box.area * (STEADY if known else 1.0)

    return sorted(faces, key=claim, reverse=True)[:limit]
