"""The shipped expression model: int8, small, suitable for the Edge TPU, as accurate as the float model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite, load_runtime
from appliance.inference.manifest import Manifest
from appliance.system.resources import models_dir
from appliance.values import EMOTIONS, Face, Image
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.expression.classifier import ExpressionClassifier, with_mirror_image
from tests.unit.models.test_detector_models import EDGE_TPU

MANIFEST = Manifest.load(models_dir())
INT8, FLOAT = MANIFEST.classifier("expression-int8"), MANIFEST.classifier("expression")
MOST_BYTES = 1_200_000


@pytest.fixture(scope="module")
def interpreter() -> Any:
    made = load_runtime().interpreter(model_path=str(MANIFEST.verified(INT8)), num_threads=1)
    made.allocate_tensors()
    return made


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ExpressionClassifier, ExpressionClassifier]]:
    made = [ExpressionClassifier(TFLite(MANIFEST.verified(model)), model) for model in (INT8, FLOAT)]
    yield made[0], made[1]
    for classifier in made:
        classifier.close()


@pytest.fixture(scope="module")
def found(demo_clip: Path) -> tuple[Image, list[Face]]:
    """The first frame of the demo clip and its two faces, from left to right."""
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    model = MANIFEST.detector("blazeface-short")
    detector = BlazeFace(TFLite(MANIFEST.verified(model)), model, threshold=0.5)
    faces = sorted(detector.find(image), key=lambda face: face.box.x)
    detector.close()
    assert len(faces) == 2
    return image, faces


def test_the_int8_model_is_small_enough() -> None:
    assert MANIFEST.verified(INT8).stat().st_size <= MOST_BYTES


def test_every_tensor_is_an_integer(interpreter: Any) -> None:
    types = {np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}
    assert types == {"int8", "int32"}
    for detail in [*interpreter.get_input_details(), *interpreter.get_output_details()]:
        assert np.dtype(detail["dtype"]).name == "int8" and detail["quantization"][0] > 0


def test_the_edge_tpu_supports_every_operator(interpreter: Any) -> None:
    operators = {detail["op_name"] for detail in interpreter._get_ops_details()}
    assert operators - {"DELEGATE"} <= EDGE_TPU


def test_both_models_have_the_same_calibration_and_class_order() -> None:
    assert INT8.classes == FLOAT.classes == EMOTIONS
    assert INT8.calibration == FLOAT.calibration
    assert INT8.calibration.temperature != 1.0


@pytest.mark.parametrize(("place", "expected"), [(0, "happy"), (1, "neutral")])
def test_the_people_of_the_demo_clip(
    pair: tuple[ExpressionClassifier, ExpressionClassifier],
    found: tuple[Image, list[Face]],
    place: int,
    expected: str,
) -> None:
    image, faces = found
    int8, original = (classifier.classify(classifier.crop(image, faces[place])) for classifier in pair)
    assert int8.scores.dominant == original.scores.dominant == expected
    assert np.abs(np.subtract(int8.scores.values, original.scores.values)).max() < 0.1
    assert int8.covered < 0.3


def test_a_bar_over_the_mouth_is_covered(
    pair: tuple[ExpressionClassifier, ExpressionClassifier], found: tuple[Image, list[Face]]
) -> None:
    image, faces = found
    for face in faces:
        hidden, (mouth_x, mouth_y), width = image.copy(), face.keypoints[3], face.box.width
        top, bottom = round(mouth_y - 0.2 * width), round(mouth_y + 0.3 * width)
        left, right = round(mouth_x - 0.45 * width), round(mouth_x + 0.45 * width)
        hidden[top:bottom, left:right] = (225, 215, 205)
        int8 = pair[0]
        assert int8.classify(int8.crop(hidden, face)).covered > 0.5


def test_with_its_mirror_image_a_face_has_symmetric_scores(
    pair: tuple[ExpressionClassifier, ExpressionClassifier], found: tuple[Image, list[Face]]
) -> None:
    classifier, (image, faces) = pair[0], found
    for face in faces:
        crop = classifier.crop(image, face)
        one, other = (
            classifier.classify(*with_mirror_image(crop)),
            classifier.classify(*with_mirror_image(crop[:, ::-1])),
        )
        assert one.scores.values == pytest.approx(other.scores.values, abs=1e-6)
        assert one.covered == pytest.approx(other.covered, abs=1e-6)
        assert classifier.classify(crop).scores != classifier.classify(crop[:, ::-1]).scores
