"""Aligned crops: level at any roll and size, also beyond the edge of the picture."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import Box, Face, Image
from appliance.vision.expression.align import eye_line_roll, resize_for_model, upright_crop
from tests.fakes.parts import noise, picture

SIZE = 64
Spot = tuple[float, float]


def face_with_eyes(cx: float, cy: float, side: float, roll: float) -> Face:
    """A square face, eyes a quarter of its side above the centre, rotated clockwise by `roll` degrees."""
    turn = math.radians(roll)

    def at(across: float, down: float) -> Spot:
        x, y = across * side, down * side
        return cx + x * math.cos(turn) - y * math.sin(turn), cy + x * math.sin(turn) + y * math.cos(turn)

    return Face(Box(cx - side / 2, cy - side / 2, side, side), 0.9, (at(-0.2, -0.25), at(0.2, -0.25)))


def painted(face: Face, width: int, height: int) -> Image:
    """The person's right eye blue, the left one red, on white."""
    image = picture(width, height, 255)
    radius = max(2, round(face.box.width / 20))
    for (x, y), colour in zip(face.keypoints, ((255, 0, 0), (0, 0, 255)), strict=True):
        # With four binary places, so that the eye is at its exact position and not at the nearest pixel.
        middle = round((x - 0.5) * 16), round((y - 0.5) * 16)
        cv2.circle(image, middle, radius * 16, colour, cv2.FILLED, cv2.LINE_AA, shift=4)
    return image


def spots(crop: Image) -> tuple[Spot, Spot]:
    """The positions of the blue and the red eye in a crop."""
    found = []
    for absent in (2, 0):
        weights = 255.0 - crop[:, :, absent]
        rows, columns = np.indices(weights.shape) + 0.5
        found.append(
            (float((columns * weights).sum() / weights.sum()), float((rows * weights).sum() / weights.sum()))
        )
    return found[0], found[1]


def crop_of(
    face: Face, *, margin: float = 1.0, lift: float = 0.0, width: int = 640, height: int = 480
) -> Image:
    return upright_crop(painted(face, width, height), face, SIZE, margin=margin, lift=lift)


@settings(deadline=None, max_examples=60)
@given(st.floats(-180, 180), st.integers(80, 300))
def test_eyes_are_level_and_in_place_at_any_roll_and_size(roll: float, side: int) -> None:
    right, left = spots(crop_of(face_with_eyes(320, 240, side, roll)))
    assert right == pytest.approx((0.3 * SIZE, 0.25 * SIZE), abs=0.8)
    assert left == pytest.approx((0.7 * SIZE, 0.25 * SIZE), abs=0.8)


@pytest.mark.parametrize("side", [40, 96, 127, 128, 129, 200, 257, 511, 900])
@pytest.mark.parametrize("roll", [0.0, 30.0])
def test_small_and_large_faces_are_in_the_same_place(side: int, roll: float) -> None:
    face = face_with_eyes(600, 500, side, roll)
    right, left = spots(crop_of(face, width=1200, height=1000))
    assert right == pytest.approx((0.3 * SIZE, 0.25 * SIZE), abs=0.8)
    assert left == pytest.approx((0.7 * SIZE, 0.25 * SIZE), abs=0.8)


@pytest.mark.parametrize("roll", [0.0, -40.0, 90.0])
def test_margin_scales_the_crop(roll: float) -> None:
    right, left = spots(crop_of(face_with_eyes(320, 240, 150, roll), margin=1.6))
    assert left[0] - right[0] == pytest.approx(0.4 * SIZE / 1.6, abs=0.8)


@pytest.mark.parametrize("roll", [0.0, -40.0, 90.0])
def test_lift_moves_the_square_towards_the_forehead(roll: float) -> None:
    face = face_with_eyes(320, 240, 150, roll)
    (_, plain), _ = spots(crop_of(face, margin=1.5))
    (_, lifted), _ = spots(crop_of(face, margin=1.5, lift=0.1))
    assert lifted - plain == pytest.approx(0.1 * SIZE, abs=0.8)


@pytest.mark.parametrize("roll", [0.0, 1.0, -37.5, 89.0, 179.0])
def test_roll_is_the_angle_of_the_eye_line(roll: float) -> None:
    assert eye_line_roll(face_with_eyes(10, 20, 30, roll)) == pytest.approx(roll)


def test_a_face_without_keypoints_is_not_turned() -> None:
    image = noise(200, 200)
    face = Face(Box(40, 60, SIZE, SIZE), 1.0)
    assert eye_line_roll(face) == 0.0
    crop = upright_crop(image, face, SIZE, margin=1.0, lift=0.0)
    assert np.array_equal(crop, image[60 : 60 + SIZE, 40 : 40 + SIZE])


@pytest.mark.parametrize(
    ("cx", "cy", "expected"),
    [(-10, 100, "left"), (210, 100, "right"), (-500, 100, "left"), (5000, 100, "right"), (0, 0, "left")],
)
def test_edge_pixels_are_repeated_outside_the_picture(cx: float, cy: float, expected: str) -> None:
    image = picture(200, 200)
    image[:, 100:] = 255
    crop = upright_crop(image, Face(Box(cx - 30, cy - 30, 60, 60), 1.0), SIZE, margin=1.3, lift=0.1)
    assert np.all(crop == (0 if expected == "left" else 255))


def test_a_crop_half_outside_keeps_the_inner_half() -> None:
    image = noise(200, 200)
    crop = upright_crop(image, Face(Box(-32, 50, SIZE, SIZE), 1.0), SIZE, margin=1.0, lift=0.0)
    assert np.array_equal(crop[:, 32:], image[50 : 50 + SIZE, :32])
    assert np.array_equal(crop[:, :32], np.repeat(image[50 : 50 + SIZE, :1], 32, axis=1))


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(*[st.floats(-300, 300)] * 2),
    st.tuples(*[st.floats(-5, 2000)] * 2),
    st.floats(-180, 180),
)
def test_any_face_in_any_picture_gives_a_crop_of_its_colours(
    size: tuple[int, int], corner: tuple[float, float], extent: tuple[float, float], roll: float
) -> None:
    image = noise(*size) // 2 + 60
    turn = math.radians(roll)
    eyes = ((0.0, 0.0), (math.cos(turn), math.sin(turn)))
    crop = upright_crop(image, Face(Box(*corner, *extent), 0.5, eyes), 48, margin=1.3, lift=0.1)
    assert crop.shape == (48, 48, 3) and crop.dtype == np.uint8
    assert crop.min() >= image.min() and crop.max() <= image.max()


def test_a_large_face_is_averaged_not_sampled() -> None:
    image = picture(800, 800)
    image[::2, ::2] = image[1::2, 1::2] = 255
    crop = upright_crop(image, Face(Box(80, 80, 640, 640), 1.0), SIZE, margin=1.0, lift=0.0)
    assert abs(float(crop.mean()) - 127.5) < 2
    assert float(crop.std()) < 10, "a chequered pattern must become grey"


def test_the_picture_is_not_modified() -> None:
    image = noise(120, 90)
    before = image.copy()
    image.flags.writeable = False
    upright_crop(image, face_with_eyes(60, 45, 40, 20), SIZE, margin=1.3, lift=0.1)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (48, 48), (640, 480), (63, 65)])
@pytest.mark.parametrize(("colour", "shape"), [("grey", (64, 64)), ("rgb", (64, 64, 3))])
@pytest.mark.parametrize("flat", [True, False], ids=["grey picture", "colour picture"])
def test_any_picture_is_resized_for_the_model(
    size: tuple[int, int], colour: str, shape: tuple[int, ...], flat: bool
) -> None:
    image = picture(*size, 77)
    done = resize_for_model(image[:, :, 0] if flat else image, colour, 64)
    assert done.shape == shape
    assert np.all(done == 77)


def test_channels_change_from_bgr_to_rgb() -> None:
    image = picture(10, 10)
    image[:] = (250, 120, 10)
    assert tuple(resize_for_model(image, "rgb", 64)[0, 0]) == (10, 120, 250)
    assert resize_for_model(image, "grey", 64)[0, 0] == pytest.approx(
        0.114 * 250 + 0.587 * 120 + 0.299 * 10, abs=1
    )
