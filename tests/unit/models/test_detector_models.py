"""The shipped detectors: int8 as declared, suitable for the Edge TPU, and in agreement about faces."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite, load_runtime
from appliance.inference.manifest import DetectorModel, Manifest, check_tensors
from appliance.system.resources import models_dir
from appliance.values import Image
from appliance.vision.detection.blazeface import BlazeFace, make_anchors

MANIFEST = Manifest.load(models_dir())
INT8 = {"blazeface-short-int8": "blazeface-short", "blazeface-full-int8": "blazeface-full"}
DETECTORS = [*INT8, *INT8.values()]

# As documented by Coral, spelt as in the TFLite schema; the ones a small network may use.
EDGE_TPU = {"ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}
EDGE_TPU |= {"LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PAD", "PRELU", "QUANTIZE"}
EDGE_TPU |= {"RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "SOFTMAX"}

FRAMES = (0, 40, 80)


@contextmanager
def opened(name: str) -> Iterator[BlazeFace]:
    model = MANIFEST.detector(name)
    engine = TFLite(MANIFEST.verified(model))
    check_tensors(model.file, model, engine.inputs, engine.outputs)
    detector = BlazeFace(engine, model, threshold=0.5)
    yield detector
    detector.close()


def interpreter(name: str) -> Any:
    path = MANIFEST.verified(MANIFEST.detector(name))
    made = load_runtime().interpreter(model_path=str(path), num_threads=1)
    made.allocate_tensors()
    return made


@pytest.fixture(scope="module")
def frames(demo_clip: Path) -> list[Image]:
    """Three pictures of the demo clip: two faces each."""
    capture, found = cv2.VideoCapture(str(demo_clip)), []
    for index in range(max(FRAMES) + 1):
        done, image = capture.read()
        assert done
        if index in FRAMES:
            found.append(np.asarray(image, np.uint8))
    capture.release()
    return found


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_is_as_its_manifest_says_and_finds_nothing_in_grey(name: str) -> None:
    with opened(name) as detector:
        assert detector.find(np.full((480, 640, 3), 90, np.uint8)) == []
        assert detector.find(np.zeros((480, 640, 3), np.uint8)) == []


@pytest.mark.parametrize("name", INT8)
def test_every_tensor_is_an_integer(name: str) -> None:
    model = interpreter(name)
    types = {np.dtype(detail["dtype"]).name for detail in model.get_tensor_details()}
    assert types == {"int8", "int32"}
    ends = [*model.get_input_details(), *model.get_output_details()]
    assert [np.dtype(detail["dtype"]).name for detail in ends] == ["int8"] * 3
    assert all(detail["quantization"][0] > 0 for detail in ends)


@pytest.mark.parametrize("name", INT8)
def test_the_edge_tpu_supports_every_operator(name: str) -> None:
    operators = {detail["op_name"] for detail in interpreter(name)._get_ops_details()}
    assert operators - {"DELEGATE"} <= EDGE_TPU


@pytest.mark.parametrize("name", INT8)
def test_an_int8_detector_differs_from_its_original_in_storage_only(name: str) -> None:
    made, original = MANIFEST.detector(name), MANIFEST.detector(INT8[name])
    assert made.built_by and not original.built_by
    for part in ("source", "licence", "preprocessing", "decoding", "anchors"):
        assert getattr(made, part) == getattr(original, part)


@pytest.mark.parametrize("name", INT8)
def test_nearly_every_pixel_value_is_distinct(name: str) -> None:
    (spec,) = (tensor.spec() for tensor in MANIFEST.detector(name).inputs)
    values = np.linspace(-1, 1, 256, dtype=np.float32)
    stored = np.clip(np.rint(values / np.float32(spec.scale)) + spec.zero_point, -128, 127)
    assert len(np.unique(stored)) >= 255


@pytest.mark.parametrize("name", INT8)
def test_an_int8_detector_finds_the_faces_of_the_float_one(name: str, frames: list[Image]) -> None:
    with opened(name) as int8, opened(INT8[name]) as original:
        for image in frames:
            wanted, found = original.find(image), int8.find(image)
            assert len(wanted) == len(found) == 2
            for face in wanted:
                same = max(found, key=lambda other: face.box.iou(other.box))
                assert face.box.iou(same.box) > 0.8
                assert same.score == pytest.approx(face.score, abs=0.1)
                apart = np.hypot(*(np.array(face.keypoints) - np.array(same.keypoints)).T)
                assert apart.max() < 0.08 * face.box.width


def test_the_full_range_detector_has_2304_anchors_row_by_row() -> None:
    model = MANIFEST.detector("blazeface-full")
    assert isinstance(model, DetectorModel)
    anchors = make_anchors(model.anchors.layers)
    assert anchors.shape == (2304, 2)
    assert anchors[0].tolist() == pytest.approx([0.5 / 48, 0.5 / 48])
    assert anchors[1].tolist() == pytest.approx([1.5 / 48, 0.5 / 48])
    assert anchors[-1].tolist() == pytest.approx([47.5 / 48, 47.5 / 48])


def test_both_ranges_find_the_same_faces_in_the_same_places(frames: list[Image]) -> None:
    # With a wrong scale or order of the anchors, one of them would find the faces elsewhere.
    with opened("blazeface-short") as short, opened("blazeface-full") as full:
        near, far = short.find(frames[0]), full.find(frames[0])
    assert len(near) == len(far) == 2
    for face in near:
        assert max(face.box.iou(other.box) for other in far) > 0.6
