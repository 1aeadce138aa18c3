"""Head pose: the mean face rotated and projected, mirrored and rotated pictures, the demo clip."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.values import Box, Face, Image, Pose
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.motion.head_pose import MEAN_FACE, estimate_pose

Points = NDArray[np.float64]


def turned(yaw: float, pitch: float, roll: float) -> Points:
    """The rotation matrix: first roll about the nose, then pitch, then yaw, in degrees."""
    (cy, sy), (cp, sp), (cr, sr) = (
        (math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in (yaw, pitch, roll)
    )
    across = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(across @ nod @ tilt)


def face_of(points: Points) -> Face:
    return Face(Box(0, 0, 100, 100), 1.0, tuple((float(x), float(y)) for x, y in points))


def projected(yaw: float, pitch: float, roll: float, scale: float = 80.0) -> Points:
    """The mean face as a far camera sees it, x to the right, y down."""
    return np.asarray((MEAN_FACE @ turned(yaw, pitch, roll).T)[:, :2] * scale + (640, 300))


def pose(points: Points) -> Pose:
    found = estimate_pose(face_of(points))
    assert found is not None
    return found


def same(found: Pose, yaw: float, pitch: float, roll: float, within: float) -> bool:
    return (
        max(
            abs(found.yaw - yaw),
            abs(found.pitch - pitch),
            abs((found.roll - roll + 180) % 360 - 180),
        )
        <= within
    )


def test_a_frontal_face_has_zero_angles() -> None:
    assert same(pose(projected(0, 0, 0)), 0, 0, 0, 1e-6)


@settings(deadline=None)
@given(st.floats(-75, 75), st.floats(-60, 60), st.floats(-170, 170), st.floats(5, 500))
def test_a_turned_head_has_its_angles(yaw: float, pitch: float, roll: float, scale: float) -> None:
    assert same(pose(projected(yaw, pitch, roll, scale)), yaw, pitch, roll, 1e-4)


def test_the_signs_match_the_documentation() -> None:
    """Nose to the picture's right, nose up, and clockwise are positive."""
    frontal, nose = projected(0, 0, 0), 2
    assert projected(20, 0, 0)[nose, 0] > frontal[nose, 0] and pose(projected(20, 0, 0)).yaw > 0
    assert projected(0, 20, 0)[nose, 1] < frontal[nose, 1] and pose(projected(0, 20, 0)).pitch > 0
    clockwise = projected(0, 0, 20)
    assert clockwise[1, 1] > clockwise[0, 1], "the eye on the right is lower"
    assert pose(clockwise).roll > 0


@given(st.floats(-60, 60), st.floats(-40, 40), st.floats(-40, 40), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_a_mirrored_face_has_the_opposite_yaw_and_roll(
    yaw: float, pitch: float, roll: float, seed: int
) -> None:
    """For any six points, even impossible ones: right and left are swapped."""
    points = projected(yaw, pitch, roll) + np.random.default_rng(seed).normal(0, 2, (6, 2))
    mirrored = points[[1, 0, 2, 3, 5, 4]] * (-1, 1)
    found = pose(points)
    assert same(pose(mirrored), -found.yaw, found.pitch, -found.roll, 1e-6)


def test_small_keypoint_errors_change_the_pose_by_a_few_degrees() -> None:
    random = np.random.default_rng(1)
    found = [pose(projected(25, -10, 5) + random.normal(0, 80 / 50, (6, 2))) for _ in range(300)]
    angles = np.array([(each.yaw, each.pitch, each.roll) for each in found])
    assert np.all(np.abs(angles.mean(axis=0) - (25, -10, 5)) < 1)
    assert np.all(angles.std(axis=0) < 3)


@pytest.mark.parametrize(
    "keypoints",
    [
        (),
        ((1.0, 1.0),) * 6,
        ((1.0, 2.0), (3.0, 2.0)),
        ((float("nan"), 0.0),) * 6,
        tuple((float(x), 2.0 * x) for x in (0, 10, 5, 5, -4, 14)),
    ],
    ids=["none", "one place", "two", "no numbers", "one line"],
)
def test_without_six_distinct_keypoints_there_is_no_pose(keypoints: tuple[tuple[float, float], ...]) -> None:
    assert estimate_pose(Face(Box(0, 0, 10, 10), 1.0, keypoints)) is None


@pytest.fixture(scope="module")
def detector(models_dir: Path) -> BlazeFace:
    manifest = Manifest.load(models_dir)
    model = manifest.detector("blazeface-short")
    return BlazeFace(TFLite(manifest.verified(model)), model, threshold=0.5)


@pytest.fixture(scope="module")
def picture(demo_clip: Path) -> Image:
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    return image


def found(detector: BlazeFace, image: Image) -> list[Pose]:
    """The poses in a picture, from left to right."""
    faces = sorted(detector.find(np.ascontiguousarray(image)), key=lambda face: face.box.x)
    poses = [estimate_pose(face) for face in faces]
    assert len(poses) == 2 and all(poses)
    return [each for each in poses if each]


def test_two_people_who_look_into_the_camera(detector: BlazeFace, picture: Image) -> None:
    for each in found(detector, picture):
        assert abs(each.yaw) < 20 and abs(each.pitch) < 12 and abs(each.roll) < 15


def test_a_mirrored_picture_has_the_opposite_yaw(detector: BlazeFace, picture: Image) -> None:
    plain, mirrored = found(detector, picture), found(detector, picture[:, ::-1])[::-1]
    for one, other in zip(plain, mirrored, strict=True):
        assert same(other, -one.yaw, one.pitch, -one.roll, 7)


@pytest.mark.parametrize("angle", [-20, 20])
def test_a_rotated_picture_has_the_roll(detector: BlazeFace, picture: Image, angle: int) -> None:
    turn = cv2.getRotationMatrix2D((640, 360), -angle, 0.9)  # OpenCV counts anticlockwise
    rotated = cv2.warpAffine(picture, turn, (1280, 720), borderMode=cv2.BORDER_REPLICATE)
    for one, other in zip(found(detector, picture), found(detector, rotated), strict=True):
        assert abs(other.roll - one.roll - angle) < 7
