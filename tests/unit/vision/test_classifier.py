"""From a crop to scores: pixels to tensors, the model's order of classes, logits and probabilities."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import ClassifierModel, Manifest
from appliance.system.resources import models_dir
from appliance.values import EMOTIONS, Box, Face, Scores, TensorSpec
from appliance.vision.expression.classifier import ExpressionClassifier, softmax
from appliance.vision.tensors import InputEncoder, dequantise, quantise
from tests.fakes.parts import CannedEngine, noise, picture

MANIFEST = Manifest.load(models_dir())
MODEL = MANIFEST.classifier("")
PLAIN = ClassifierModel.model_validate(
    MODEL.model_dump()
    | {
        "output": "probabilities",
        "covered": "",
        "calibration": {},
        "outputs": [MODEL.outputs[0].model_dump()],
    }
)
"""The same with one output, of probabilities."""
INPUT = TensorSpec("in", (1, 48, 48, 1), "float32")
COVERED = TensorSpec("covered", (1, 1), "float32")
OUTPUT = TensorSpec(MODEL.scores, (1, 7), "float32")
WEIGHTS = np.array([[1, 2, 3, 4, 5, 6, 7]], np.float32)


def model(**changed: object) -> ClassifierModel:
    return ClassifierModel.model_validate(PLAIN.model_dump() | changed)


@pytest.mark.parametrize("classes", [EMOTIONS, EMOTIONS[::-1], (*EMOTIONS[3:], *EMOTIONS[:3])])
def test_scores_are_named_by_the_order_in_the_manifest(classes: tuple[str, ...]) -> None:
    engine = CannedEngine(INPUT, [(OUTPUT, WEIGHTS)])
    read = ExpressionClassifier(engine, model(classes=classes)).classify(picture()).scores
    expected = dict(zip(classes, (WEIGHTS[0] / 28).tolist(), strict=True))
    assert read.named() == pytest.approx(expected)
    assert tuple(read.named()) == EMOTIONS


def test_softmax_applies_to_logits_only() -> None:
    engine = CannedEngine(INPUT, [(OUTPUT, WEIGHTS)])
    plain = ExpressionClassifier(engine, model(output="probabilities")).classify(picture()).scores
    logits = ExpressionClassifier(engine, model(output="logits")).classify(picture()).scores
    assert plain.values == pytest.approx((WEIGHTS[0] / 28).tolist())
    powers = np.exp(WEIGHTS[0].astype(float))
    assert logits.values == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)


def test_logits_are_calibrated_by_the_manifest() -> None:
    offsets = (0.5, 0.0, 0.0, -1.0, 0.0, 0.0, 2.0)
    calibrated = model(output="logits", calibration={"temperature": 2.0, "offsets": offsets})
    read = (
        ExpressionClassifier(CannedEngine(INPUT, [(OUTPUT, WEIGHTS)]), calibrated).classify(picture()).scores
    )
    powers = np.exp((WEIGHTS[0].astype(float) + offsets) / 2.0)
    assert read.values == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)


def test_offsets_are_in_the_order_of_the_models_classes() -> None:
    turned = model(output="logits", classes=EMOTIONS[::-1], calibration={"offsets": (9.0, *[0.0] * 6)})
    read = ExpressionClassifier(
        CannedEngine(INPUT, [(OUTPUT, np.zeros((1, 7), np.float32))]), turned
    ).classify(picture())
    assert read.scores.dominant == EMOTIONS[-1]


def test_weights_mix_logits_in_the_order_of_the_models_classes() -> None:
    weights = np.eye(7)
    weights[0, 6] = 1.0  # the first class also gets the logit of the last
    turned = model(
        output="logits", classes=EMOTIONS[::-1], calibration={"temperature": 2.0, "weights": weights.tolist()}
    )
    answer = np.array([[0, 0, 0, 0, 0, 0, 3]], np.float32)
    read = ExpressionClassifier(CannedEngine(INPUT, [(OUTPUT, answer)]), turned).classify(picture()).scores
    assert read.named()[EMOTIONS[-1]] == pytest.approx(read.named()[EMOTIONS[0]])
    assert read.named()["happy"] / read.top == pytest.approx(np.exp(-1.5))


@pytest.mark.parametrize(("logit", "expected"), [(0.0, 0.5), (2.0, 0.8808), (-1e9, 0.0), (1e9, 1.0)])
def test_covered_is_found_by_the_name_of_its_output(logit: float, expected: float) -> None:
    answer = np.array([[logit]], np.float32)
    for outputs in ([(COVERED, answer), (OUTPUT, WEIGHTS)], [(OUTPUT, WEIGHTS), (COVERED, answer)]):
        read = ExpressionClassifier(CannedEngine(INPUT, outputs), MODEL).classify(picture())
        assert read.covered == pytest.approx(expected, abs=1e-4)
        assert read.scores.dominant == "neutral"


def test_covered_is_zero_for_a_model_without_that_output() -> None:
    assert (
        ExpressionClassifier(CannedEngine(INPUT, [(OUTPUT, WEIGHTS)]), PLAIN).classify(picture()).covered
        == 0.0
    )


def test_negative_rounding_is_not_a_probability() -> None:
    answer = np.array([[-0.01, 0.5, 0.51, 0, 0, 0, 0]], np.float32)
    read = ExpressionClassifier(CannedEngine(INPUT, [(OUTPUT, answer)]), PLAIN).classify(picture()).scores
    assert min(read.values) == 0.0
    assert sum(read.values) == pytest.approx(1.0)


@pytest.mark.parametrize(("pixel", "value"), [(0, -1.0), (255, 1.0), (51, -0.6)])
def test_pixels_fill_the_range_of_the_manifest(pixel: int, value: float) -> None:
    engine = CannedEngine(INPUT, [(OUTPUT, WEIGHTS)])
    preprocessing = PLAIN.preprocessing.model_copy(update={"range": (-1.0, 1.0)})
    ExpressionClassifier(engine, PLAIN.model_copy(update={"preprocessing": preprocessing})).classify(
        picture(50, 50, pixel)
    )
    (given_tensor,) = engine.given
    assert given_tensor.shape == (1, 48, 48, 1) and given_tensor.dtype == np.float32
    assert given_tensor == pytest.approx(np.full((1, 48, 48, 1), value), abs=1e-6)


def test_a_quantised_model_gets_and_gives_quantised_values() -> None:
    inputs = TensorSpec("in", (1, 48, 48, 1), "int8", 2 / 255, 0)
    outputs = TensorSpec(MODEL.scores, (1, 7), "int8", 1 / 256, -128)
    answer = np.full((1, 7), -128, np.int8)
    answer[0, 3] = 127
    engine = CannedEngine(inputs, [(outputs, answer)])
    read = ExpressionClassifier(engine, PLAIN).classify(picture(48, 48, 255)).scores
    assert engine.given[0].dtype == np.int8
    assert np.all(engine.given[0] == 127), (
        "1.0 is out of the int8 range here, and is clipped, not wrapped around"
    )
    assert read.dominant == "happy" and read.top == pytest.approx(1.0)


@settings(deadline=None)
@given(st.lists(st.floats(-3, 3, width=32), min_size=1, max_size=9))
def test_quantise_and_dequantise_differ_by_half_a_step_at_most(values: list[float]) -> None:
    spec = TensorSpec("t", (len(values),), "uint8", 0.05, 100)
    there = quantise(np.array(values, np.float32), spec)
    assert dequantise(there, spec) == pytest.approx(np.array(values), abs=0.0251)


def test_a_plain_tensor_is_not_scaled() -> None:
    spec = TensorSpec("t", (1, 2, 2, 1), "float32")
    image = np.array([[0, 255], [51, 102]], np.uint8)
    assert InputEncoder((0.0, 1.0), spec).encode(image).ravel() == pytest.approx([0, 1, 0.2, 0.4])
    assert dequantise(np.array([3.0]), spec) == pytest.approx([3.0])


@settings(deadline=None)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=7, max_size=7))
def test_softmax_of_any_logits_sums_to_one(logits: list[float]) -> None:
    powers = softmax(np.array(logits, np.float32))
    assert float(powers.sum()) == pytest.approx(1.0, abs=1e-5)
    assert powers[int(np.argmax(logits))] == powers.max()


# --- the real model ---


@pytest.fixture(scope="module")
def real() -> Iterator[ExpressionClassifier]:
    made = ExpressionClassifier(TFLite(MANIFEST.verified(MODEL)), MODEL)
    yield made
    made.close()


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (48, 48), (224, 224), (641, 480)])
@pytest.mark.parametrize("flat", [True, False], ids=["grey", "colour"])
def test_a_crop_of_any_size_has_seven_scores(
    real: ExpressionClassifier, size: tuple[int, int], flat: bool
) -> None:
    image = noise(*size)
    read = real.classify(image[:, :, 0] if flat else image).scores
    assert sum(read.values) == pytest.approx(1.0)
    assert all(0.0 <= value <= 1.0 for value in read.values)


def test_a_grey_crop_reads_as_the_same_crop_in_three_channels(real: ExpressionClassifier) -> None:
    grey = noise(80, 80)[:, :, 0]
    assert real.classify(grey).scores.values == pytest.approx(
        real.classify(cv2.merge([grey] * 3)).scores.values, abs=0.02
    )


def test_a_face_at_the_edge_of_the_picture_is_read(real: ExpressionClassifier) -> None:
    face = Face(Box(-40.0, 80.0, 90.0, 90.0), 0.9, ((0.0, 100.0), (30.0, 95.0)))
    read = real.classify(real.crop(noise(100, 100), face)).scores
    assert isinstance(read, Scores)


def test_close_releases_the_engine() -> None:
    engine = CannedEngine(INPUT, [(OUTPUT, WEIGHTS)])
    ExpressionClassifier(engine, PLAIN).close()
    assert engine.closed
