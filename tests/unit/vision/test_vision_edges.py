"""Edge cases: boxes smaller than a pixel, the moment a track expires, another scene."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from appliance.values import Box, Face, Image
from appliance.vision.detection.blazeface import shrink
from appliance.vision.detection.nms import weighted_nms_arrays
from appliance.vision.detection.video_search import VideoSearch
from appliance.vision.expression.classifier import softmax
from appliance.vision.motion.body import body_change
from appliance.vision.motion.camera_shift import camera_shift
from appliance.vision.motion.frame_pair import FramePair
from appliance.vision.motion.head_pose import MEAN_FACE, estimate_pose
from appliance.vision.motion.time_window import TimeWindow
from appliance.vision.tracking.tracker import Tracker
from tests.fakes.parts import face


@pytest.mark.parametrize("logits", [[0.0, 0.0], [3.0, -1.0, 0.5], [800.0, -800.0]])
def test_probabilities_sum_to_one(logits: list[float]) -> None:
    assert float(softmax(np.array(logits, np.float32)).sum()) == pytest.approx(1.0)


def test_an_empty_time_window_has_no_duration() -> None:
    history = TimeWindow(1, 1.0)
    assert history.lasted == 0.0
    history.add(5.0, 1.0)
    assert history.lasted == 0.0
    history.add(5.5, 1.0)
    history.clear()
    assert history.lasted == 0.0


def test_boxes_merge_in_any_unit() -> None:
    """As shares of the picture, every side is below one."""
    points = np.array([[[0.0, 0.0], [0.5, 0.5]], [[0.05, 0.05], [0.55, 0.55]]], np.float32)
    (found,) = weighted_nms_arrays(points, np.array([0.9, 0.6], np.float32))
    assert found.score == pytest.approx(0.9)


@pytest.mark.parametrize(("away_s", "same"), [(2.0, True), (2.25, False)])
def test_a_track_expires_after_its_time(away_s: float, same: bool) -> None:
    tracker = Tracker(expiry_s=2.0)
    (first,) = tracker.update([face(300, 300, 100)], 1.0)
    assert len(tracker.predict(1.0 + away_s)) == int(same)
    (later,) = tracker.update([face(300, 300, 100)], 1.0 + away_s)
    assert (later == first) is same


def test_another_scene_has_no_camera_shift() -> None:
    random = np.random.default_rng(5)
    before, now = (random.uniform(0, 255, (240, 320)).astype(np.float32) for _ in range(2))
    assert camera_shift(before, now, []) == (0.0, 0.0)
    assert camera_shift(before, before, []) == (0.0, 0.0)
    tiny = before[:8, :8]
    assert camera_shift(tiny, tiny, []) == (0.0, 0.0)


@pytest.mark.parametrize("shift_px", [100, 140])
def test_a_shift_of_more_than_a_quarter_of_the_picture_is_ignored(shift_px: int) -> None:
    random = np.random.default_rng(6)
    wide = np.kron(random.uniform(0, 255, (30, 80)), np.ones((8, 8))).astype(np.float32)
    assert camera_shift(wide[:, :320], wide[:, shift_px : 320 + shift_px], []) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_pose_of_an_unusual_face_is_the_nearest_rotation(seed: int) -> None:
    """Compared with the polar decomposition by singular values."""
    random = np.random.default_rng(seed)
    keypoints = 80 * (MEAN_FACE[:, :2] + random.normal(0, 0.08, (6, 2)))
    seen = keypoints.T @ np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(axis=0)).T
    left, _, right = np.linalg.svd(seen, full_matrices=False)
    across, down = left @ right
    nose = np.cross(across, down)
    yaw = np.arctan2(across[2], nose[2])
    pitch = np.arctan2(-down[2], np.hypot(across[2], nose[2]))
    roll = np.arctan2(down[0], down[1])
    found = estimate_pose(Face(Box(0, 0, 80, 80), 1.0, tuple((float(x), float(y)) for x, y in keypoints)))
    assert found is not None
    wanted = np.degrees([yaw, pitch, roll]).tolist()
    assert [found.yaw, found.pitch, found.roll] == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(
    ("width", "height", "steps"),
    [
        (50, 45, [((20, 30), cv2.INTER_LINEAR), ((10, 15), cv2.INTER_AREA)]),  # large: coarse first
        (25, 45, [((20, 30), cv2.INTER_LINEAR), ((10, 15), cv2.INTER_AREA)]),
        (20, 45, [((10, 15), cv2.INTER_AREA)]),  # not wide enough for that
        (50, 30, [((10, 15), cv2.INTER_AREA)]),  # not high enough
        (20, 30, [((10, 15), cv2.INTER_AREA)]),
        (11, 16, [((10, 15), cv2.INTER_AREA)]),
        (5, 7, [((10, 15), cv2.INTER_LINEAR)]),  # enlarged
        (10, 14, [((10, 15), cv2.INTER_LINEAR)]),
    ],
)
def test_a_picture_is_averaged_and_a_large_one_subsampled_first(
    width: int, height: int, steps: list[tuple[tuple[int, int], int]]
) -> None:
    image = np.random.default_rng(7).integers(0, 255, (height, width, 3), np.uint8)
    expected = image
    for size, method in steps:
        expected = np.asarray(cv2.resize(expected, size, interpolation=method), np.uint8)
    assert np.array_equal(shrink(image, (10, 15)), expected)


@pytest.mark.parametrize(
    ("columns", "rows", "seen"), [(4, 5, True), (6, 4, True), (3, 5, False), (6, 3, False), (4, 4, True)]
)
def test_a_body_of_fewer_than_four_pixels_is_not_compared(columns: int, rows: int, seen: bool) -> None:
    face = Box(12.0, 7.8, 2.0, 2.0)  # its body: 6 by 5 pixels from (10, 10)
    picture = np.random.default_rng(8).uniform(0, 255, (40, 40)).astype(np.float32)
    view = FramePair(picture, 1.0, picture, clear=Box(0.0, 0.0, 10.0 + columns, 10.0 + rows))
    assert (body_change(view, face) is not None) is seen


@pytest.mark.parametrize(
    ("columns", "rows", "seen"), [(6, 25, True), (6, 24, False), (30, 5, True), (29, 5, False)]
)
def test_a_body_less_than_a_fifth_visible_is_not_compared(columns: int, rows: int, seen: bool) -> None:
    face = Box(20.0, 9.0, 10.0, 10.0)  # its body: 30 by 25 pixels from (10, 20)
    picture = np.random.default_rng(8).uniform(0, 255, (60, 60)).astype(np.float32)
    view = FramePair(picture, 1.0, picture, clear=Box(0.0, 0.0, 10.0 + columns, 20.0 + rows))
    assert (body_change(view, face) is not None) is seen
    assert body_change(FramePair(picture, 1.0, None, view.clear), face) is None


class OneThing:
    """Two detectors, one of which sees a face in an object."""

    threshold = 0.5

    def __init__(self) -> None:
        self.frame = 0
        self.closer_looks: list[int] = []

    def scan(self, image: Image, region: object) -> list[Face]:
        return [face(300, 300, 100)]

    def detect_wide(self, image: Image, place: Box) -> None:
        self.closer_looks.append(self.frame)


def test_a_rejected_place_is_suppressed_for_twelve_frames() -> None:
    cascade = OneThing()
    search = VideoSearch(cascade, (1280, 720), 4)  # type: ignore[arg-type]
    image = np.zeros((72, 128, 3), np.uint8)
    search.start(image, [], [])
    for cascade.frame in range(30):
        assert search.step(image, [], cascade.frame / 15) == []
    assert cascade.closer_looks == [0, 12, 24]
