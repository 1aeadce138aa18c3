"""The expression classifier: an upright crop in, seven calibrated scores out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from appliance.inference.manifest import ClassifierModel
from appliance.ports import Engine
from appliance.values import EMOTIONS, Face, Floats, Image, Scores
from appliance.vision.expression.align import prepared, upright_crop
from appliance.vision.expression.tensors import Pixels, dequantised

_LOGIT_LIMIT = 60.0
"""Beyond it a probability is 0 or 1 in float32 anyway, and its exponential overflows."""


@dataclass(frozen=True)
class Expression:
    """What the classifier makes of a crop: the seven scores, and how likely mouth or eyes are covered.

    `covered` is 0 for a model that does not tell.
    """

    scores: Scores
    covered: float = 0.0


class Classifier:
    """Reads the expression of one face. Holds an engine, so it belongs to one thread."""

    def __init__(self, engine: Engine, model: ClassifierModel) -> None:
        self._engine = engine
        self._model = model
        self._pixels = Pixels(model.preprocessing.range, engine.inputs[0])
        self._order = [model.classes.index(name) for name in EMOTIONS]
        self._offsets = np.array(model.calibration.offsets or [0.0] * len(EMOTIONS), np.float32)
        names = [spec.name for spec in engine.outputs]
        self._scores_at = names.index(model.scores)
        self._covered_at = names.index(model.covered) if model.covered else None

    def crop(self, image: Image, face: Face) -> Image:
        """A face found in a blue-green-red picture, cut out as this model wants to see it."""
        pre = self._model.preprocessing
        return upright_crop(image, face, pre.size, margin=pre.margin, lift=pre.lift)

    def read(self, *views: Image) -> Expression:
        """What one face shows that is already cut out: a picture of any size, or several that count alike."""
        answers = zip(*map(self._answers, views), strict=True)
        outputs = [np.asarray(np.mean(each, axis=0), np.float32) for each in answers]
        scores = Scores.of(self._probabilities(outputs[self._scores_at])[self._order])
        if self._covered_at is None:
            return Expression(scores)
        return Expression(scores, logistic(float(outputs[self._covered_at][0])))

    def close(self) -> None:
        """Let the engine go."""
        self._engine.close()

    def _answers(self, crop: Image) -> list[Floats]:
        pre = self._model.preprocessing
        values = self._pixels.stored(prepared(crop, pre.colour, pre.size))
        return [
            dequantised(value, spec).reshape(-1)
            for value, spec in zip(self._engine.run(values), self._engine.outputs, strict=True)
        ]

    def _probabilities(self, answer: Floats) -> Floats:
        if self._model.output == "probabilities":
            return np.maximum(answer, 0.0)
        return softmax((answer + self._offsets) / np.float32(self._model.calibration.temperature))


def both_ways(crop: Image) -> tuple[Image, Image]:
    """A face and its mirror image, which shows the same expression: together they are read more surely."""
    return crop, np.ascontiguousarray(crop[:, ::-1])


def softmax(logits: Floats) -> Floats:
    """Probabilities from logits."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def logistic(logit: float) -> float:
    """The probability of one logit."""
    return 1.0 / (1.0 + math.exp(-min(max(logit, -_LOGIT_LIMIT), _LOGIT_LIMIT)))
