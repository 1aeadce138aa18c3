"""Weighted non-maximum suppression: overlapping boxes become their mean, weighted by score.

It is the "blending" of Bazarevsky et al., "BlazeFace" (2019), section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Face, Floats

MIN_IOU = 0.3
"""Boxes with a larger intersection over union are one face (the value of the published model)."""

MIN_INSIDE = 0.6
"""Across regions, a box with a larger share inside a higher-scoring box shows part of that face."""


def weighted_nms_arrays(points: Floats, scores: Floats, within: float = 1.0) -> list[Face]:
    """Merge overlapping boxes: their mean weighted by score, with the highest score; highest score first.

    `points`: float32, shape (boxes, 2 + keypoints, 2), rows of (x, y): top left corner, bottom right corner,
    keypoints. `scores`: float32, shape (boxes,). If one of two boxes has a larger share than `within` inside
    the other, the lower-scoring one is dropped, not averaged: one shows only part of the face.
    """
    faces = []
    left = np.argsort(-scores, kind="stable")
    while left.size:
        overlap, inside = _overlaps_with_first(points[left, 0], points[left, 1])
        same = overlap > MIN_IOU
        same[0] = True  # a degenerate box does not even overlap itself
        group = left[same]
        weights = scores[group] / scores[group].sum()
        mean = (points[group] * weights[:, None, None]).sum(axis=0)
        faces.append(_face(mean, float(scores[left[0]])))
        left = left[~(same | (inside > within))]
    return faces


def weighted_nms(faces: Sequence[Face]) -> list[Face]:
    """Merge faces that were detected in different parts of one picture; highest score first.

    All are in pixels of that picture and have the same number of keypoints.
    """
    if not faces:
        return []
    points = np.array([_corners_and_keypoints(face) for face in faces], np.float32)
    return weighted_nms_arrays(points, np.array([face.score for face in faces], np.float32), MIN_INSIDE)


def is_same_face(one: Box, other: Box) -> bool:
    """Whether two boxes of one picture show the same face, by the criteria of `weighted_nms`."""
    smaller = min(one.area, other.area)
    return one.iou(other) > MIN_IOU or one.intersection(other) > MIN_INSIDE * max(smaller, 1e-9)


def _overlaps_with_first(lt: Floats, rb: Floats) -> tuple[Floats, Floats]:
    """Intersection of each box with the first one, over their union and over the smaller of the two.

    `lt`, `rb`: top left and bottom right corners, shape (boxes, 2); both results have shape (boxes,).
    """
    across, down = np.maximum(np.minimum(rb, rb[0]) - np.maximum(lt, lt[0]), 0).T
    areas = np.prod(np.maximum(rb - lt, 0), axis=1)
    both = across * down
    return _share(both, areas + areas[0] - both), _share(both, np.minimum(areas, areas[0]))


def _share(part: NDArray[np.floating], of: NDArray[np.floating]) -> Floats:
    return np.asarray(part / np.maximum(of, 1e-9), np.float32)


def _corners_and_keypoints(face: Face) -> list[tuple[float, float]]:
    return [(face.box.x, face.box.y), (face.box.right, face.box.bottom), *face.keypoints]


def _face(points: Floats, score: float) -> Face:
    (x, y), (right, bottom) = points[0].tolist(), points[1].tolist()
    keypoints = tuple((float(px), float(py)) for px, py in points[2:])
    return Face(Box(x, y, right - x, bottom - y), score, keypoints)
