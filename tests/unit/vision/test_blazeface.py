"""Anchors, letterbox, decoding and NMS with tensors made by hand; then the real model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import DetectorModel, Manifest
from appliance.system.resources import models_dir
from appliance.values import Box, Face, Floats, Image, Tensor, TensorSpec
from appliance.vision.detection.blazeface import BlazeFace, LetterboxTransform, letterbox, make_anchors
from tests.fakes.parts import CannedEngine, noise, picture

MANIFEST = Manifest.load(models_dir())
MODEL = MANIFEST.detector("blazeface-short")
INPUT = TensorSpec("input", (1, 128, 128, 3), "float32")
BOXES = TensorSpec("regressors", (1, 896, 16), "float32")
SCORES = TensorSpec("classificators", (1, 896, 1), "float32")
NEVER = -90.0


def raw(*found: tuple[int, float, list[float]]) -> tuple[Floats, Floats]:
    """Raw outputs in which only these anchors respond: (anchor, logit, sixteen offsets)."""
    boxes = np.zeros((1, 896, 16), np.float32)
    logits = np.full((1, 896, 1), NEVER, np.float32)
    for anchor, logit, offsets in found:
        boxes[0, anchor, : len(offsets)] = offsets
        logits[0, anchor] = logit
    return boxes, logits


def detector(boxes: Floats, logits: Floats, threshold: float = 0.5, *, swapped: bool = False) -> BlazeFace:
    outputs: list[tuple[TensorSpec, Tensor]] = [(BOXES, boxes), (SCORES, logits)]
    engine = CannedEngine(INPUT, outputs[::-1] if swapped else outputs)
    return BlazeFace(engine, MODEL, threshold=threshold)


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.right, box.bottom


def test_anchors_are_896_grid_by_grid_row_by_row() -> None:
    anchors = make_anchors(MODEL.anchors.layers)
    assert anchors.shape == (896, 2)
    at = lambda index: tuple(anchors[index].tolist())  # noqa: E731
    assert at(0) == at(1) == (0.5 / 16, 0.5 / 16)
    assert at(2) == (1.5 / 16, 0.5 / 16), "the next anchor is to the right"
    assert at(32) == (0.5 / 16, 1.5 / 16), "then the next row"
    assert at(511) == (15.5 / 16, 15.5 / 16)
    assert {at(index) for index in range(512, 518)} == {(0.5 / 8, 0.5 / 8)}
    assert at(518) == (1.5 / 8, 0.5 / 8)
    assert at(895) == (7.5 / 8, 7.5 / 8)


@pytest.mark.parametrize(
    ("width", "height", "placement"),
    [
        (1280, 720, LetterboxTransform(0.1, 0, 28)),
        (720, 1280, LetterboxTransform(0.1, 28, 0)),
        (128, 128, LetterboxTransform(1.0, 0, 0)),
        (64, 32, LetterboxTransform(2.0, 0, 32)),
        (1, 1, LetterboxTransform(128.0, 0, 0)),
        (1, 4000, LetterboxTransform(0.032, 63, 0)),
        (4000, 1, LetterboxTransform(0.032, 0, 63)),
    ],
)
def test_letterbox_centres_the_picture_unstretched_on_black(
    width: int, height: int, placement: LetterboxTransform
) -> None:
    square, found = letterbox(picture(width, height, 200), 128)
    assert square.shape == (128, 128, 3)
    assert found == placement
    lit = np.argwhere(square[:, :, 0] > 0)
    (top, left), (bottom, right) = lit.min(axis=0), lit.max(axis=0) + 1
    assert (left, top) == (placement.left, placement.top)
    assert right - left == max(1, round(width * placement.scale))
    assert bottom - top == max(1, round(height * placement.scale))


@settings(deadline=None, max_examples=60)
@given(st.integers(40, 700), st.integers(40, 700), st.floats(0.1, 0.9), st.floats(0.1, 0.9))
def test_letterbox_transform_maps_a_spot(width: int, height: int, across: float, down: float) -> None:
    image = picture(width, height)
    size = min(max(2, max(width, height) // 16), width, height)
    x, y = int(across * (width - size)), int(down * (height - size))
    image[y : y + size, x : x + size] = 255
    square, placement = letterbox(image, 128)
    weights = square[:, :, 0].astype(float)
    rows, columns = np.indices(weights.shape) + 0.5
    seen = (columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()
    middle = (
        (x + size / 2) * placement.scale + placement.left,
        (y + size / 2) * placement.scale + placement.top,
    )
    assert seen == pytest.approx(middle, abs=0.75)


@pytest.mark.parametrize("swapped", [False, True], ids=["boxes first", "scores first"])
@pytest.mark.parametrize(
    ("width", "height", "left", "top"), [(1280, 720, 0, 28), (720, 1280, 28, 0), (1280, 1280, 0, 0)]
)
def test_one_anchor_decodes_to_exact_pixels(
    width: int, height: int, left: int, top: int, swapped: bool
) -> None:
    # Anchor 272 + 18 = 290: row 9, column 1 of the first grid, its centre at (12, 76) of the input.
    anchor = 9 * 32 + 1 * 2
    keypoints = [-5, -4, 5, -4, 0, 1, 0, 6, -9, -3, 9, -3]
    boxes, logits = raw((anchor, 2.0, [4, -2, 20, 24, *map(float, keypoints)]))
    (found,) = detector(boxes, logits, swapped=swapped).find(picture(width, height))
    cx, cy = 12 + 4 - left, 76 - 2 - top
    assert corners(found.box) == pytest.approx(
        ((cx - 10) * 10, (cy - 12) * 10, (cx + 10) * 10, (cy + 12) * 10), abs=1e-3
    )
    expected = [
        ((12 + x - left) * 10, (76 + y - top) * 10)
        for x, y in zip(keypoints[::2], keypoints[1::2], strict=True)
    ]
    assert np.allclose(found.keypoints, expected, atol=1e-3)
    assert found.score == pytest.approx(1 / (1 + math.exp(-2)))


@settings(deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 3000),
    st.integers(0, 895),
    *[st.floats(0, 1)] * 2,
    *[st.floats(0.01, 1)] * 2,
)
def test_a_box_survives_the_letterbox_round_trip(
    width: int, height: int, anchor: int, x: float, y: float, w: float, h: float
) -> None:
    box = Box(x * width, y * height, w * width, h * height)
    scale = 128 / max(width, height)
    left, top = ((128 - max(1, round(side * scale))) // 2 for side in (width, height))
    center = box.center[0] * scale + left, box.center[1] * scale + top
    ax, ay = (make_anchors(MODEL.anchors.layers)[anchor] * 128).tolist()
    offsets = [center[0] - ax, center[1] - ay, box.width * scale, box.height * scale]
    boxes, logits = raw((anchor, 5.0, offsets))
    (found,) = detector(boxes, logits).decode(boxes, logits, LetterboxTransform(scale, left, top))
    assert corners(found.box) == pytest.approx(corners(box), abs=1e-4 * max(width, height))


@pytest.mark.parametrize(("logit", "found"), [(0.0, 0), (1.2, 0), (1.4, 1), (3.0, 1), (1e6, 1), (-1e6, 0)])
def test_only_faces_above_the_threshold_are_kept(logit: float, found: int) -> None:
    boxes, logits = raw((100, logit, [0, 0, 30, 30]))
    assert len(detector(boxes, logits, threshold=0.8).find(picture())) == found  # logit(0.8) = 1.386


def test_scores_beyond_the_clip_are_still_probabilities() -> None:
    boxes, logits = raw((100, 1e30, [0, 0, 30, 30]))
    (found,) = detector(boxes, logits).find(picture())
    assert found.score == pytest.approx(1.0)


def test_a_call_may_lower_the_threshold() -> None:
    boxes, logits = raw((100, 0.0, [0, 0, 30, 30]))
    found = detector(boxes, logits, threshold=0.8)
    assert found.find(picture()) == []
    assert len(found.find(picture(), 0.4)) == 1


def test_every_pixel_value_maps_to_the_range_of_the_model() -> None:
    boxes, logits = raw()
    made = detector(boxes, logits)
    ramp = np.repeat(np.arange(128, dtype=np.uint8)[None, :, None] * 2, 128, axis=0).repeat(3, axis=2)
    made.find(np.ascontiguousarray(ramp))
    engine = made._engine
    assert isinstance(engine, CannedEngine)
    assert engine.given[0][0, 5, :, 1] == pytest.approx(np.arange(128) * 2 / 127.5 - 1, abs=1e-6)


# --- the real model ---


@pytest.fixture(scope="module")
def real() -> Iterator[BlazeFace]:
    engine = TFLite(MANIFEST.verified(MODEL))
    made = BlazeFace(engine, MODEL, threshold=0.5)
    yield made
    made.close()


@pytest.fixture(scope="module")
def two_faces(demo_clip: Path) -> Image:
    capture = cv2.VideoCapture(str(demo_clip))
    done, image = capture.read()
    capture.release()
    assert done
    return np.asarray(image, np.uint8)


def test_both_faces_of_the_demo_clip_are_found(real: BlazeFace, two_faces: Image) -> None:
    faces = real.find(two_faces)
    assert len(faces) == 2
    for found in faces:
        assert found.score > 0.7
        right_eye, left_eye, nose, mouth, right_ear, left_ear = found.keypoints
        for x, y in (right_eye, left_eye, nose, mouth):
            assert found.box.x < x < found.box.right and found.box.y < y < found.box.bottom
        assert right_eye[0] < left_eye[0], "the person's right eye is on the left of the picture"
        assert right_ear[0] < left_ear[0]
        assert max(right_eye[1], left_eye[1]) < nose[1] < mouth[1]


def test_a_mirrored_picture_has_mirrored_faces(real: BlazeFace, two_faces: Image) -> None:
    width = two_faces.shape[1]
    straight = {round(found.box.center[0] / 20) for found in real.find(two_faces)}
    mirrored = {round((width - found.box.center[0]) / 20) for found in real.find(two_faces[:, ::-1])}
    assert len(straight) == 2
    assert all(min(abs(a - b) for b in mirrored) <= 1 for a in straight)


def test_a_face_keeps_its_place_in_a_picture_turned_to_portrait(real: BlazeFace, two_faces: Image) -> None:
    faces = sorted(real.find(two_faces), key=lambda found: found.box.x)
    taller = np.vstack([two_faces, np.zeros((1000, two_faces.shape[1], 3), np.uint8)])
    again = sorted(real.find(taller), key=lambda found: found.box.x)
    assert [found.box.iou(other.box) > 0.7 for found, other in zip(faces, again, strict=True)] == [True, True]


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2), (127, 129), (5000, 40)])
def test_a_picture_of_any_size_can_be_searched(real: BlazeFace, size: tuple[int, int]) -> None:
    assert all(isinstance(found, Face) for found in real.find(noise(*size)))


def test_an_empty_picture_has_no_face(real: BlazeFace) -> None:
    assert real.find(picture(640, 480, 90)) == []


def test_the_model_of_the_manifest_is_the_one_tested() -> None:
    assert isinstance(MODEL, DetectorModel)
    assert sum(layer.cells**2 * layer.per_cell for layer in MODEL.anchors.layers) == 896
