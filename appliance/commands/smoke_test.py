"""Smoke test of a model before it is used: on a blank picture and on a frame of the demo clip."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from appliance.errors import ModelError
from appliance.inference.manifest import ClassifierModel, DetectorModel
from appliance.ports import Engine
from appliance.values import Face, Floats, Image, Scores, Tensor, shown_name
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.expression.classifier import ExpressionClassifier
from appliance.vision.tensors import dequantise

_THRESHOLD = 0.5
"""Minimum score of a face in the test. The configured one may be stricter, which is not the model's fault."""

_SUM_TOLERANCE = 0.02
"""Tolerance for the sum of seven probabilities: an 8-bit output has steps of 1/256 each."""

_HINT = "compare decoding, anchors and preprocessing with the model's training"

_BLANK: tuple[int, int, int] = (360, 640, 3)
_GREY = 128


class _RecordingEngine:
    """Keeps the last raw outputs of an engine: the classifier normalises them to a sum of 1."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.description, self.inputs, self.outputs = engine.description, engine.inputs, engine.outputs
        self.last: list[Tensor] = []

    def run(self, tensor: Tensor) -> list[Tensor]:
        self.last = self._engine.run(tensor)
        return self.last

    def close(self) -> None:
        self._engine.close()


def blank_picture() -> Image:
    """A grey picture without content: BGR, uint8, height x width x 3."""
    return np.full(_BLANK, _GREY, np.uint8)


def smoke_test_detector(
    name: str, model: DetectorModel, engine: Engine, frame: Image
) -> tuple[list[Face], str]:
    """Find the faces of `frame`, which has some; returns them, largest first, and a summary.

    Raises `ModelError`.
    """
    detector = BlazeFace(engine, model, threshold=_THRESHOLD)
    if seen := detector.find(blank_picture()):
        raise ModelError(f"{name}: found {len(seen)} faces in a blank picture: expected none; {_HINT}")
    faces = sorted(detector.find(frame), key=lambda face: -face.box.area)
    if not faces:
        raise ModelError(f"{name}: found no face in a frame of the demo clip: expected at least one; {_HINT}")
    best = max(face.score for face in faces)
    return faces, f"blank picture: no face; demo frame: {len(faces)} faces, highest score {best:.2f}"


def smoke_test_classifier(
    name: str, model: ClassifierModel, engine: Engine, frame: Image, faces: Sequence[Face]
) -> str:
    """Read the first of `faces`, or `frame` if there are none; returns a summary. Raises `ModelError`."""
    recorded = _RecordingEngine(engine)
    classifier = ExpressionClassifier(recorded, model)
    crop = classifier.crop(frame, faces[0]) if faces else frame
    place = [spec.name for spec in engine.outputs].index(model.scores)
    summaries, answers = [], []
    for what, picture in (("blank picture", blank_picture()), ("demo frame", crop)):
        scores: Scores | None = None
        recorded.last = []
        try:
            scores = classifier.classify(picture).scores
        except ValueError as error:
            if not recorded.last:
                raise ModelError(f"{name}: {what}: cannot be read ({error}); {_HINT}") from error
        answer = dequantise(recorded.last[place], engine.outputs[place]).reshape(-1)
        _check_output(name, model, what, answer)
        if scores is None:
            raise ModelError(f"{name}: {what}: output {_format(answer)}: expected positive scores; {_HINT}")
        summaries.append(f"{what}: {shown_name(scores.dominant)} {scores.top:.2f}")
        answers.append(answer)
    if np.allclose(answers[0], answers[1], atol=1e-6):
        raise ModelError(
            f"{name}: output {_format(answers[0])} for a blank picture and for a face: expected different"
            " outputs; compare preprocessing and the input's scale with the model's training"
        )
    return f"{'; '.join(summaries)}; scores are finite and sum to 1"


def _check_output(name: str, model: ClassifierModel, what: str, answer: Floats) -> None:
    if not np.isfinite(answer).all():
        raise ModelError(
            f"{name}: {what}: output {_format(answer)}: expected finite numbers; convert the model again"
        )
    are_shares = abs(float(answer.sum()) - 1) <= _SUM_TOLERANCE and float(answer.min()) >= -_SUM_TOLERANCE
    if are_shares == (model.output == "probabilities"):
        return
    other = "probabilities" if are_shares else "logits"
    raise ModelError(
        f"{name}: {what}: output {_format(answer)}, which sums to {float(answer.sum()):.3f}: expected"
        f' {model.output} as in the manifest; set output = "{other}" or convert the model again'
    )


def _format(answer: Floats) -> str:
    return f"[{', '.join(f'{value:.3g}' for value in answer)}]"
