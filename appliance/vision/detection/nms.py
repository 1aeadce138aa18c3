"""Many boxes of one face become one: their mean, weighted by score ("blending" in the BlazeFace paper)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from appliance.values import Box, Face, Floats

SAME_FACE_IOU = 0.3
"""Boxes that overlap more than this are one face (the value of the published model)."""

WITHIN = 0.6
"""Of two regions, a box of which more than this lies within a surer one is a part of that face."""


def weighted_suppression(points: Floats, scores: Floats, within: float = 1.0) -> list[Face]:
    """One face for each group of overlapping boxes: their mean weighted by score, with the best score.

    `points` is (boxes, 2 + keypoints, 2): left top corner, right bottom corner, keypoints; `scores` (boxes,).
    A box of which more than `within` lies inside a surer one, or the other way round, is dropped with it but
    not averaged: it shows a part of the face.
    """
    faces = []
    left = np.argsort(-scores, kind="stable")
    while left.size:
        overlap, inside = _overlaps_with_first(points[left, 0], points[left, 1])
        same = overlap > SAME_FACE_IOU
        same[0] = True  # A degenerate box overlaps nothing, not even itself.
        group = left[same]
        weights = scores[group] / scores[group].sum()
        mean = (points[group] * weights[:, None, None]).sum(axis=0)
        faces.append(_face(mean, float(scores[left[0]])))
        left = left[~(same | (inside > within))]
    return faces


def merged(faces: Sequence[Face]) -> list[Face]:
    """One face for each group of faces found in different parts of a picture, the surest first.

    All in pixels of the same picture, all with the same number of keypoints.
    """
    if not faces:
        return []
    points = np.array([_points(face) for face in faces], np.float32)
    return weighted_suppression(points, np.array([face.score for face in faces], np.float32), WITHIN)


def same_face(one: Box, other: Box) -> bool:
    """Whether two boxes of one picture show one face, by the same measure as `merged`."""
    smaller = min(one.area, other.area)
    return one.iou(other) > SAME_FACE_IOU or one.intersection(other) > WITHIN * max(smaller, 1e-9)


def _overlaps_with_first(lt: Floats, rb: Floats) -> tuple[Floats, Floats]:
    """Of each box with the first: intersection over union, and over the smaller of the two."""
    across, down = np.maximum(np.minimum(rb, rb[0]) - np.maximum(lt, lt[0]), 0).T
    areas = np.prod(np.maximum(rb - lt, 0), axis=1)
    both = across * down
    return _ratio(both, areas + areas[0] - both), _ratio(both, np.minimum(areas, areas[0]))


def _ratio(part: NDArray[np.floating], of: NDArray[np.floating]) -> Floats:
    return np.asarray(part / np.maximum(of, 1e-9), np.float32)


def _points(face: Face) -> list[tuple[float, float]]:
    return [(face.box.x, face.box.y), (face.box.right, face.box.bottom), *face.keypoints]


def _face(points: Floats, score: float) -> Face:
    (x, y), (right, bottom) = points[0].tolist(), points[1].tolist()
    keypoints = tuple((float(px), float(py)) for px, py in points[2:])
    return Face(Box(x, y, right - x, bottom - y), score, keypoints)
