"""Head pose from the six keypoints of the detector.

A mean face in three dimensions is fitted to the keypoints with weak perspective: a rotation, one scale and a
shift. Least squares gives the best affine camera in one product with a constant matrix; the rotation is the
nearest pair of orthonormal rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.values import Face, Pose

Matrix = NDArray[np.float64]

MEAN_FACE: Matrix = np.array(
    [
        # x to the picture's right, y down, z towards the camera; in widths of the detector's box
        (-0.215, 0.000, 0.000),  # the person's right eye
        (0.215, 0.000, 0.000),  # left eye
        (0.000, 0.245, 0.260),  # nose tip
        (0.000, 0.452, 0.143),  # mouth
        (-0.447, 0.090, -0.420),  # right ear
        (0.447, 0.090, -0.420),  # left ear
    ]
)
"""The six keypoints of a face that looks into the camera, shape (6, 3).

x and y: medians over 1,530 near-frontal faces as BlazeFace marks them (see docs/quality.md), so that such a
face has angles of 0 despite the detector's bias. z: MediaPipe's canonical face model (Apache-2.0; a width is
14.65 of its centimetres); the shifts of nose, mouth and ears against each other in turned heads give the same
proportions: 0.26 : 0.14 : -0.43.
"""

_CENTRED = MEAN_FACE - MEAN_FACE.mean(axis=0)
_TO_CAMERA: Matrix = _CENTRED @ np.linalg.inv(_CENTRED.T @ _CENTRED)

_LEAST_PX = 1e-3
"""A face narrower than about this has no pose, and neither has one with collinear keypoints."""


def estimate_pose(face: Face) -> Pose | None:
    """The head pose of a face; None without keypoints.

    Yaw and pitch are the direction of the nose in the picture, roll is the rotation about it. Mirroring a
    picture changes only the sign of yaw and roll.
    """
    if len(face.keypoints) != len(MEAN_FACE):
        return None
    x, y = (np.asarray(face.keypoints, np.float64).T @ _TO_CAMERA).tolist()
    area = math.hypot(x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0])
    if not area > _LEAST_PX**2:  # false for NaN too
        return None
    # The nearest orthonormal rows are (C C^T)^(-1/2) C; for two rows that root has a closed form.
    xx, xy, yy = (sum(p * q for p, q in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y)))
    scale = area * math.sqrt(xx + yy + 2 * area)
    across = [((yy + area) * p - xy * q) / scale for p, q in zip(x, y, strict=True)]
    down = [((xx + area) * q - xy * p) / scale for p, q in zip(x, y, strict=True)]
    return _angles(across, down)


def _angles(across: Sequence[float], down: Sequence[float]) -> Pose:
    """The angles of a rotation given by its first two rows, as yaw, then pitch, then roll."""
    right, lower, near = across[2], down[2], across[0] * down[1] - across[1] * down[0]
    yaw = math.atan2(right, near)
    pitch = math.atan2(-lower, math.hypot(right, near))
    # The head's own x and y axis, seen along the nose: their vertical components are those of `down`.
    roll = math.atan2(down[0], down[1])
    return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))
