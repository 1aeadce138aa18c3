"""Where a head points, from the six keypoints of the detector."""

from __future__ import annotations

from appliance.values import Face, Pose


def pose_of(face: Face) -> Pose | None:
    """The pose of a face, or None without keypoints."""
    return None
