"""Selects the faces to analyse if there are more than the limit."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.values import Box, Face
from appliance.vision.detection.nms import is_same_face

TRACKED_WEIGHT = 2.0
"""A new face must be this many times as large in area to replace a tracked one."""


def select_faces(faces: Sequence[Face], tracked: Sequence[Box], limit: int) -> list[Face]:
    """The `limit` largest faces; the area of a tracked face counts `TRACKED_WEIGHT` times.

    `tracked`: where tracked faces should be. Without the weight, the selection would alternate between two
    faces of a similar size.
    """
    if len(faces) <= limit:
        return list(faces)

    def weighted_area(face: Face) -> float:
        is_tracked = any(is_same_face(face.box, place) for place in tracked)
        return face.box.area * (TRACKED_WEIGHT if is_tracked else 1.0)

    return sorted(faces, key=weighted_area, reverse=True)[:limit]
