"""The quality check: each measure on the demo clip's faces, degraded step by step."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.configuration.settings import VisionSettings
from appliance.values import Box, Face, Image, Pose
from appliance.vision.expression.align import upright_crop
from appliance.vision.expression.quality import QualityLimits, measure_quality, unreadable_reason
from tests.machine import ROOT

NUMBERS = ROOT / "docs" / "quality.json"
FACES = [Face(Box(267, 247, 240, 240), 1.0), Face(Box(776, 247, 240, 240), 1.0)]
"""Where the two people sit in the demo clip's first picture."""

SHIPPED = QualityLimits(
    **{name: getattr(VisionSettings(), name) for name in QualityLimits.__dataclass_fields__}
)
"""The limits of the settings' defaults."""


@pytest.fixture(scope="module")
def picture(demo_clip: Path) -> Image:
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    return image


@pytest.fixture(params=FACES)
def crop(request: pytest.FixtureRequest, picture: Image) -> Image:
    """A face as input of a classifier with 64 pixels."""
    return upright_crop(picture, request.param, 64, margin=1.3, lift=0.1)


def face(width: float = 200.0) -> Face:
    return Face(Box(0, 0, width, width), 0.9)


def reason(crop: Image, **more: float) -> str | None:
    return unreadable_reason(face(), None, crop, SHIPPED, **more)


def blurred(image: Image, sigma: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def exposed(image: Image, gain: float, offset: float = 0.0) -> Image:
    noise = np.random.default_rng(0).normal(0, 2.5, image.shape)
    return np.clip(np.rint(image.astype(float) * gain + offset + noise), 0, 255).astype(np.uint8)


def test_a_good_face_is_readable(crop: Image) -> None:
    assert reason(crop) is None
    assert reason(cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)) is None, "grey as well"


def test_without_limits_nothing_is_refused() -> None:
    for value in (0, 128, 255):
        flat = np.full((48, 48, 3), value, np.uint8)
        assert unreadable_reason(face(0.1), Pose(179, 90, 0), flat, QualityLimits(), 1.0) is None


def test_a_face_of_few_pixels_is_small(crop: Image) -> None:
    limit = SHIPPED.min_face_px
    assert unreadable_reason(face(limit - 0.1), None, crop, SHIPPED) == "small"
    assert unreadable_reason(face(limit), None, crop, SHIPPED) is None


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_turned_face_is_turned(crop: Image, sign: int) -> None:
    yaw, pitch = sign * SHIPPED.max_yaw, sign * SHIPPED.max_pitch
    assert unreadable_reason(face(), Pose(yaw, pitch, 80), crop, SHIPPED) is None, (
        "the crop is upright anyway"
    )
    assert unreadable_reason(face(), Pose(yaw + sign, 0, 0), crop, SHIPPED) == "turned"
    assert unreadable_reason(face(), Pose(0, pitch + sign, 0), crop, SHIPPED) == "turned"


def test_dark_bright_washed_out_and_blurred_faces_have_their_reason(crop: Image) -> None:
    assert reason(exposed(crop, 0.05)) == "dark"
    assert reason(exposed(crop, 5)) == "bright"
    assert reason(exposed(crop, 0.05, 200)) == "bright", "nothing but haze"
    assert reason(blurred(crop, 6)) == "blurred"


def test_a_face_in_front_of_a_bright_window_is_dark(crop: Image) -> None:
    """The background does not count: only the centre of the face is measured."""
    down, across = np.mgrid[:64, :64]
    beside = ((across - 32) / 25) ** 2 + ((down - 35) / 30) ** 2 > 1
    backlit = exposed(crop, 0.05)
    backlit[beside] = 250
    assert reason(backlit) == "dark"


def before_a_window(crop: Image, gain: float, narrow: float, size: int) -> Image:
    """The darkened face on white; `narrow`: half its width as a share of the crop; `size`: pixels."""
    down, across = np.mgrid[:64, :64] / 64 - 0.5
    face = ((across / narrow) ** 2 + ((down - 0.03) / 0.42) ** 2 <= 1).astype(np.float32)
    soft = cv2.GaussianBlur(face, (0, 0), 1.7)[:, :, None]
    backlit = crop * gain * soft + 245 * (1 - soft)
    noise = np.random.default_rng(0).normal(0, 2, backlit.shape)
    noisy = np.asarray(np.clip(backlit + noise, 0, 255), np.uint8)
    far = cv2.resize(noisy, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(far, (64, 64)), np.uint8)


@pytest.mark.parametrize("size", [64, 40, 20])
@pytest.mark.parametrize("narrow", [0.34, 0.30])
@pytest.mark.parametrize("gain", [0.5, 0.3, 0.2, 0.1])
def test_a_backlit_face_is_dark_not_blurred(crop: Image, gain: float, narrow: float, size: int) -> None:
    backlit = before_a_window(crop, gain, narrow, size)
    reason = unreadable_reason(face(size / 1.3), None, backlit, SHIPPED)
    assert reason == "dark" or (reason is None and gain > 0.1), "with some light it may still be readable"


@pytest.mark.parametrize("gain", [1.0, 0.6])
def test_a_blurred_face_stays_blurred_in_any_light(crop: Image, gain: float) -> None:
    assert reason(exposed(blurred(crop, 5), gain)) == "blurred"
    assert reason(blurred(before_a_window(crop, gain, 0.4, 64), 5)) == "blurred"


def test_a_covered_face_is_covered(crop: Image) -> None:
    assert reason(crop, covered=SHIPPED.covered_above) is None
    assert reason(crop, covered=SHIPPED.covered_above + 0.01) == "covered"


def test_sharpness_falls_with_blur_and_not_with_light(crop: Image) -> None:
    sharp = measure_quality(crop).sharpness
    row = [sharp, *(measure_quality(blurred(crop, sigma)).sharpness for sigma in (1, 1.5, 2, 3, 4, 6))]
    assert all(after < before for before, after in itertools.pairwise(row)), row
    for gain in (0.4, 0.7, 1.2):
        assert measure_quality(exposed(crop, gain)).sharpness == pytest.approx(sharp, rel=0.08)


@pytest.mark.parametrize("angle", range(0, 180, 45))
def test_motion_blur_in_any_direction_lowers_sharpness(crop: Image, angle: int) -> None:
    line = np.zeros((17, 17), np.float32)
    line[8] = 1
    turn = cv2.getRotationMatrix2D((8, 8), angle, 1)
    kernel = cv2.warpAffine(line, turn, (17, 17))
    moved = cv2.filter2D(crop, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    assert measure_quality(moved).sharpness < 0.7 * measure_quality(crop).sharpness


@pytest.mark.parametrize("face", FACES)
def test_sharpness_does_not_depend_on_the_distance(picture: Image, face: Face) -> None:
    """The same person further away: smaller in the picture, but not blurred, down to the least width."""
    found = []
    for width in (240, 120, 60, 40, SHIPPED.min_face_px + 4):
        scale = width / 240
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        box = Box(*(scale * each for each in (face.box.x, face.box.y, face.box.width, face.box.height)))
        crop = upright_crop(np.asarray(small, np.uint8), Face(box, 1.0), 64, margin=1.3, lift=0.1)
        assert unreadable_reason(Face(box, 1.0), None, crop, SHIPPED) is None, width
        found.append(measure_quality(crop).sharpness)
    assert max(found[:4]) < 1.35 * min(found[:4])


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.booleans(), st.integers(0, 2**32 - 1))
def test_any_crop_is_measured(width: int, height: int, grey: bool, seed: int) -> None:
    shape = (height, width) if grey else (height, width, 3)
    found = measure_quality(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))
    assert 0 <= found.lower <= found.upper <= 255
    assert 0 <= found.contrast <= 255 and 0 <= found.sharpness < 20


def test_relaxed_limits_refuse_less_and_nothing_new() -> None:
    loose = SHIPPED.relaxed()
    for name in ("min_face_px", "min_sharpness", "dark_below", "min_contrast"):
        assert getattr(loose, name) < getattr(SHIPPED, name)
    for name in ("max_yaw", "max_pitch", "bright_above", "covered_above"):
        assert getattr(loose, name) > getattr(SHIPPED, name)
    assert loose.bright_above < 255 and loose.covered_above < 1


def test_the_defaults_match_the_measurement() -> None:
    """A new measurement must go into the settings, and the reverse."""
    measured_ones = json.loads(NUMBERS.read_text(encoding="utf-8"))["defaults"]
    assert {name: getattr(VisionSettings(), name) for name in measured_ones} == measured_ones
