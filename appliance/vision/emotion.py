"""The expression classifier: an upright crop in, seven scores out."""

from __future__ import annotations

import numpy as np

from appliance.manifest import ClassifierModel
from appliance.ports import Engine
from appliance.values import EMOTIONS, Face, Floats, Image, Scores
from appliance.vision.align import prepared, upright_crop
from appliance.vision.tensors import dequantised, from_pixels


class Classifier:
    """Reads the expression of one face. Holds an engine, so it belongs to one thread."""

    def __init__(self, engine: Engine, model: ClassifierModel) -> None:
        self._engine = engine
        self._model = model
        self._order = [model.classes.index(name) for name in EMOTIONS]

    def crop(self, image: Image, face: Face) -> Image:
        """A face found in a blue-green-red picture, cut out as this model wants to see it."""
        pre = self._model.preprocessing
        return upright_crop(image, face, pre.size, margin=pre.margin, lift=pre.lift)

    def read(self, crop: Image) -> Scores:
        """The scores of a picture of any size that is one face already cut out."""
        pre = self._model.preprocessing
        values = from_pixels(prepared(crop, pre.colour, pre.size), pre.range, self._engine.inputs[0])
        answer = dequantised(self._engine.run(values)[0], self._engine.outputs[0]).reshape(-1)
        if self._model.output == "logits":
            answer = softmax(answer)
        return Scores.of(np.maximum(answer[self._order], 0.0))

    def close(self) -> None:
        """Let the engine go."""
        self._engine.close()


def softmax(logits: Floats) -> Floats:
    """Probabilities from logits."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)
