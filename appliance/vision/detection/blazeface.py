"""The BlazeFace detector: picture to input tensor, raw outputs to faces in pixels of the picture.

Network and anchors: Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs"
(2019), arXiv:1907.05047. The numbers come from the model's manifest (see models/MODEL_CARD.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from appliance.inference.manifest import AnchorLayer, DetectorModel
from appliance.ports import Engine
from appliance.values import Face, Floats, Image, Tensor
from appliance.vision.detection.nms import weighted_nms_arrays
from appliance.vision.tensors import InputEncoder, dequantise

_COARSE = 2
"""A large picture is first subsampled to this many times the input, which is cheap, and then averaged."""


@dataclass(frozen=True)
class LetterboxTransform:
    """From picture to square input: input pixels = picture pixels * `scale` + (`left`, `top`)."""

    scale: float
    left: int
    top: int


class BlazeFace:
    """Detects faces in one picture. Holds an engine, so use it from one thread only."""

    def __init__(self, engine: Engine, model: DetectorModel, *, threshold: float) -> None:
        self._engine = engine
        self._model = model
        self._threshold = threshold
        self._anchors = make_anchors(model.anchors.layers)
        order = [spec.name for spec in engine.outputs]
        self._boxes_at = order.index(model.decoding.boxes)
        self._scores_at = order.index(model.decoding.scores)
        self._pixels = InputEncoder(model.preprocessing.range, engine.inputs[0])

    @property
    def threshold(self) -> float:
        """Lowest score of a face, 0 to 1, unless a call passes another."""
        return self._threshold

    def find(self, image: Image, threshold: float | None = None) -> list[Face]:
        """The faces in a picture, highest score first; boxes and keypoints in its pixels.

        `image`: uint8 blue-green-red, shape (height, width, 3), of any size.
        """
        square, placement = letterbox(image, self._model.preprocessing.size)
        rgb = cv2.cvtColor(square, cv2.COLOR_BGR2RGB)
        outputs = self._engine.run(self._pixels.encode(np.asarray(rgb, np.uint8)))
        return self.decode(outputs[self._boxes_at], outputs[self._scores_at], placement, threshold)

    def decode(
        self, boxes: Tensor, scores: Tensor, placement: LetterboxTransform, threshold: float | None = None
    ) -> list[Face]:
        """Faces, in pixels of the picture, from outputs as the model stores them.

        `boxes`: offsets, shape (1, anchors, 4 + 2 * keypoints); `scores`: logits, shape (1, anchors, 1).
        """
        decoding, size, specs = self._model.decoding, self._model.preprocessing.size, self._engine.outputs
        logits = dequantise(scores.reshape(-1), specs[self._scores_at])
        least = self._threshold if threshold is None else threshold
        sure = np.flatnonzero(logits >= math.log(least / (1.0 - least)))
        if not sure.size:
            return []
        found = 1.0 / (1.0 + np.exp(-np.minimum(logits[sure], decoding.score_clip)))
        stored = boxes.reshape(len(self._anchors), -1, 2)[sure]
        raw = dequantise(stored, specs[self._boxes_at]) / decoding.raw_scale
        center, half, keypoints = raw[:, :1], raw[:, 1:2] / 2, raw[:, 2:]
        points = np.concatenate([center - half, center + half, keypoints], axis=1)
        points += self._anchors[sure, None, :]
        offset = np.array([placement.left, placement.top], np.float32)
        points = (points * size - offset) / placement.scale
        return weighted_nms_arrays(points, found.astype(np.float32))

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()


def make_anchors(layers: Iterable[AnchorLayer]) -> Floats:
    """Anchor centres as (x, y), 0 to 1, float32, shape (anchors, 2): grid by grid, row by row."""
    grids = []
    for layer in layers:
        middles = (np.arange(layer.cells, dtype=np.float32) + 0.5) / layer.cells
        across, down = np.meshgrid(middles, middles)
        cells = np.stack([across.ravel(), down.ravel()], axis=1)
        grids.append(np.repeat(cells, layer.per_cell, axis=0))
    return np.concatenate(grids)


def letterbox(image: Image, size: int) -> tuple[Image, LetterboxTransform]:
    """The entire picture, unstretched, centred in a black square of `size` by `size` pixels."""
    height, width = image.shape[:2]
    scale = size / max(height, width)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    square = np.zeros((size, size, 3), np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = shrink(image, inner)
    return square, LetterboxTransform(scale, left, top)


def shrink(image: Image, to: tuple[int, int]) -> Image:
    """The picture resized to `to` (width, height).

    Averaging an entire large frame would cost more than the detector.
    """
    width, height = to
    coarse = width * _COARSE, height * _COARSE
    if image.shape[1] > coarse[0] and image.shape[0] > coarse[1]:
        image = np.asarray(cv2.resize(image, coarse, interpolation=cv2.INTER_LINEAR), np.uint8)
    method = cv2.INTER_AREA if image.shape[1] > width else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, to, interpolation=method), np.uint8)
