"""The expression classifier: an upright crop in, seven calibrated scores out. See models/MODEL_CARD.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from appliance.inference.manifest import ClassifierModel, RestModel
from appliance.ports import Engine
from appliance.values import EMOTIONS, Face, Floats, Image, Scores
from appliance.vision.expression.align import resize_for_model, upright_crop
from appliance.vision.tensors import InputEncoder, dequantise

_LOGIT_LIMIT = 60.0
"""Beyond this a probability is 0 or 1 in float32, and the exponential overflows."""


@dataclass(frozen=True)
class ClassifierOutput:
    """The scores of a crop, and the probability that the mouth or eyes are covered.

    `covered` is 0 for a model without that output.
    """

    scores: Scores
    covered: float = 0.0


class ExpressionClassifier:
    """Classifies the expression of one face. Holds an engine, so use it from one thread only."""

    def __init__(self, engine: Engine, model: ClassifierModel) -> None:
        self._engine = engine
        self._model = model
        self._pixels = InputEncoder(model.preprocessing.range, engine.inputs[0])
        self._order = [model.classes.index(name) for name in EMOTIONS]
        calibration = model.calibration
        weights = np.array(calibration.weights or np.eye(len(EMOTIONS)), np.float32)
        offsets = np.array(calibration.offsets or [0.0] * len(EMOTIONS), np.float32)
        self._weights = weights[self._order] / np.float32(calibration.temperature)
        self._offsets = offsets[self._order] / np.float32(calibration.temperature)
        names = [spec.name for spec in engine.outputs]
        self._scores_at = names.index(model.scores)
        self._covered_at = names.index(model.covered) if model.covered else None

    @property
    def rest(self) -> RestModel | None:
        """How faces at rest look to this model; None if it has no baselines."""
        return self._model.baseline

    def crop(self, image: Image, face: Face) -> Image:
        """A face in a blue-green-red picture, cropped and aligned for this model."""
        pre = self._model.preprocessing
        return upright_crop(image, face, pre.size, margin=pre.margin, lift=pre.lift)

    def classify(self, *views: Image) -> ClassifierOutput:
        """Classify one face from one or more crops, averaging the outputs.

        `views`: uint8, grey or blue-green-red, of any size.
        """
        outputs_of_views = zip(*map(self._outputs, views), strict=True)
        outputs = [np.asarray(np.mean(each, axis=0), np.float32) for each in outputs_of_views]
        scores = Scores.of(self._probabilities(outputs[self._scores_at]))
        if self._covered_at is None:
            return ClassifierOutput(scores)
        return ClassifierOutput(scores, logistic(float(outputs[self._covered_at][0])))

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()

    def _outputs(self, crop: Image) -> list[Floats]:
        pre = self._model.preprocessing
        values = self._pixels.encode(resize_for_model(crop, pre.colour, pre.size))
        return [
            dequantise(value, spec).reshape(-1)
            for value, spec in zip(self._engine.run(values), self._engine.outputs, strict=True)
        ]

    def _probabilities(self, answer: Floats) -> Floats:
        """In the order of `EMOTIONS`, shape (7,)."""
        if self._model.output == "probabilities":
            return np.maximum(answer[self._order], 0.0)
        return softmax(self._weights @ answer + self._offsets)


def with_mirror_image(crop: Image) -> tuple[Image, Image]:
    """A crop and its mirror image, which shows the same expression; together they give a better result."""
    return crop, np.ascontiguousarray(crop[:, ::-1])


def softmax(logits: Floats) -> Floats:
    """Probabilities from logits, shape (classes,)."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def logistic(logit: float) -> float:
    """Probability from one logit."""
    return 1.0 / (1.0 + math.exp(-min(max(logit, -_LOGIT_LIMIT), _LOGIT_LIMIT)))
