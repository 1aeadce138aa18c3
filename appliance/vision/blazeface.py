"""BlazeFace: picture to input tensor, raw outputs to faces in pixels of the picture.

The network and its anchors are those of Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face
Detection on Mobile GPUs" (2019); the numbers come from the model's manifest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from appliance.manifest import AnchorLayer, DetectorModel
from appliance.ports import Engine
from appliance.values import Box, Face, Floats, Image
from appliance.vision.tensors import dequantised, from_pixels

SAME_FACE_IOU = 0.3
"""Boxes that overlap more than this are one face (the value of the published model)."""

_COARSE = 2
"""A picture is first sampled down to this many times the input, cheaply, and only then averaged."""


@dataclass(frozen=True)
class Placement:
    """Where a picture lies in the square input: input pixels = picture pixels * scale + (left, top)."""

    scale: float
    left: int
    top: int


class BlazeFace:
    """Finds faces in one picture. Holds an engine, so it belongs to one thread."""

    def __init__(self, engine: Engine, model: DetectorModel, *, threshold: float) -> None:
        self._engine = engine
        self._model = model
        self._threshold = threshold
        self._anchors = make_anchors(model.anchors.layers)
        order = [spec.name for spec in engine.outputs]
        self._boxes_at = order.index(model.decoding.boxes)
        self._scores_at = order.index(model.decoding.scores)

    def find(self, image: Image) -> list[Face]:
        """The faces in a blue-green-red picture, the surest first; boxes and keypoints in its pixels."""
        square, placement = letterbox(image, self._model.preprocessing.size)
        rgb = np.asarray(cv2.cvtColor(square, cv2.COLOR_BGR2RGB), np.uint8)
        values = from_pixels(rgb, self._model.preprocessing.range, self._engine.inputs[0])
        outputs, specs = self._engine.run(values), self._engine.outputs
        return self.decode(
            dequantised(outputs[self._boxes_at], specs[self._boxes_at]),
            dequantised(outputs[self._scores_at], specs[self._scores_at]),
            placement,
        )

    def decode(self, raw_boxes: Floats, raw_scores: Floats, placement: Placement) -> list[Face]:
        """Faces from raw outputs: (1, anchors, 4 + 2 * keypoints) offsets and (1, anchors, 1) logits."""
        decoding, size = self._model.decoding, self._model.preprocessing.size
        logits = raw_scores.reshape(-1)
        sure = np.flatnonzero(logits >= math.log(self._threshold / (1.0 - self._threshold)))
        if not sure.size:
            return []
        scores = 1.0 / (1.0 + np.exp(-np.minimum(logits[sure], decoding.score_clip)))
        raw = raw_boxes.reshape(len(self._anchors), -1, 2)[sure] / decoding.raw_scale
        center, half, keypoints = raw[:, :1], raw[:, 1:2] / 2, raw[:, 2:]
        points = np.concatenate([center - half, center + half, keypoints], axis=1)
        points += self._anchors[sure, None, :]
        offset = np.array([placement.left, placement.top], np.float32)
        points = (points * size - offset) / placement.scale
        return weighted_suppression(points, scores.astype(np.float32))

    def close(self) -> None:
        """Let the engine go."""
        self._engine.close()


def make_anchors(layers: Iterable[AnchorLayer]) -> Floats:
    """The anchor centres, (anchors, 2) as (x, y) in 0 to 1: grid by grid, row by row."""
    grids = []
    for layer in layers:
        middles = (np.arange(layer.cells, dtype=np.float32) + 0.5) / layer.cells
        across, down = np.meshgrid(middles, middles)
        cells = np.stack([across.ravel(), down.ravel()], axis=1)
        grids.append(np.repeat(cells, layer.per_cell, axis=0))
    return np.concatenate(grids)


def letterbox(image: Image, size: int) -> tuple[Image, Placement]:
    """The whole picture in the middle of a black square of `size` pixels, never stretched."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square = np.zeros((size, size, 3), np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = shrink(image, inner)
    return square, Placement(scale, left, top)


def shrink(image: Image, to: tuple[int, int]) -> Image:
    """The picture at `to` (width, height); averaging a whole large frame costs more than the detector."""
    width, height = to
    coarse = width * _COARSE, height * _COARSE
    if image.shape[1] > coarse[0] and image.shape[0] > coarse[1]:
        image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_LINEAR), np.uint8)
    method = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, to, interpolation=method), np.uint8)


def weighted_suppression(points: Floats, scores: Floats) -> list[Face]:
    """One face for each group of overlapping boxes: their mean weighted by score, with the best score.

    `points` is (boxes, 2 + keypoints, 2): left top corner, right bottom corner, keypoints; `scores` (boxes,).
    """
    faces = []
    left = np.argsort(-scores, kind="stable")
    while left.size:
        same = _iou_with_first(points[left, 0], points[left, 1]) > SAME_FACE_IOU
        same[0] = True  # A degenerate box overlaps nothing, not even itself.
        group = left[same]
        weights = scores[group] / scores[group].sum()
        mean = (points[group] * weights[:, None, None]).sum(axis=0)
        faces.append(_face(mean, float(scores[left[0]])))
        left = left[~same]
    return faces


def _iou_with_first(lt: Floats, rb: Floats) -> Floats:
    across, down = np.maximum(np.minimum(rb, rb[0]) - np.maximum(lt, lt[0]), 0).T
    areas = np.prod(np.maximum(rb - lt, 0), axis=1)
    both = across * down
    return np.asarray(both / np.maximum(areas + areas[0] - both, 1e-9), np.float32)


def _face(points: Floats, score: float) -> Face:
    (x, y), (right, bottom) = points[0].tolist(), points[1].tolist()
    keypoints = tuple((float(px), float(py)) for px, py in points[2:])
    return Face(Box(x, y, right - x, bottom - y), score, keypoints)
