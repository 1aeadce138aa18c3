"""Vision at its edges: boxes smaller than a pixel, the last moment of waiting for somebody, another scene."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.values import Box, Face
from appliance.vision.camera_shift import camera_shift
from appliance.vision.emotion import softmax
from appliance.vision.history import History
from appliance.vision.pose import MEAN_FACE, pose_of
from appliance.vision.suppression import weighted_suppression
from appliance.vision.tracker import Tracker
from tests.doubles.parts import face


@pytest.mark.parametrize("logits", [[0.0, 0.0], [3.0, -1.0, 0.5], [800.0, -800.0]])
def test_probabilities_sum_to_one(logits: list[float]) -> None:
    assert float(softmax(np.array(logits, np.float32)).sum()) == pytest.approx(1.0)


def test_nothing_that_was_seen_has_lasted_no_time() -> None:
    history = History(1, 1.0)
    assert history.lasted == 0.0
    history.add(5.0, 1.0)
    assert history.lasted == 0.0
    history.add(5.5, 1.0)
    history.clear()
    assert history.lasted == 0.0


def test_boxes_are_joined_by_their_overlap_whatever_their_unit() -> None:
    """As shares of the picture, every side is below one."""
    points = np.array([[[0.0, 0.0], [0.5, 0.5]], [[0.05, 0.05], [0.55, 0.55]]], np.float32)
    (found,) = weighted_suppression(points, np.array([0.9, 0.6], np.float32))
    assert found.score == pytest.approx(0.9)


@pytest.mark.parametrize(("away_s", "same"), [(2.0, True), (2.25, False)])
def test_somebody_is_waited_for_until_the_time_is_over(away_s: float, same: bool) -> None:
    tracker = Tracker(expiry_s=2.0)
    (first,) = tracker.update([face(300, 300, 100)], 1.0)
    assert len(tracker.expected(1.0 + away_s)) == int(same)
    (later,) = tracker.update([face(300, 300, 100)], 1.0 + away_s)
    assert (later == first) is same


def test_another_scene_is_no_shift_at_all() -> None:
    random = np.random.default_rng(5)
    before, now = (random.uniform(0, 255, (240, 320)).astype(np.float32) for _ in range(2))
    assert camera_shift(before, now, []) == (0.0, 0.0)
    assert camera_shift(before, before, []) == (0.0, 0.0)
    tiny = before[:8, :8]
    assert camera_shift(tiny, tiny, []) == (0.0, 0.0)


@pytest.mark.parametrize("shift_px", [100, 140])
def test_a_shift_of_more_than_a_quarter_of_the_picture_is_another_scene(shift_px: int) -> None:
    random = np.random.default_rng(6)
    wide = np.kron(random.uniform(0, 255, (30, 80)), np.ones((8, 8))).astype(np.float32)
    assert camera_shift(wide[:, :320], wide[:, shift_px : 320 + shift_px], []) == (0.0, 0.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_pose_of_a_face_unlike_the_mean_one_is_that_of_the_nearest_turn(seed: int) -> None:
    """Held against the polar decomposition by singular values."""
    random = np.random.default_rng(seed)
    keypoints = 80 * (MEAN_FACE[:, :2] + random.normal(0, 0.08, (6, 2)))
    seen = keypoints.T @ np.linalg.pinv(MEAN_FACE - MEAN_FACE.mean(axis=0)).T
    left, _, right = np.linalg.svd(seen, full_matrices=False)
    across, down = left @ right
    nose = np.cross(across, down)
    yaw = np.arctan2(across[2], nose[2])
    pitch = np.arctan2(-down[2], np.hypot(across[2], nose[2]))
    roll = np.arctan2(down[0], down[1])
    found = pose_of(Face(Box(0, 0, 80, 80), 1.0, tuple((float(x), float(y)) for x, y in keypoints)))
    assert found is not None
    wanted = np.degrees([yaw, pitch, roll]).tolist()
    assert [found.yaw, found.pitch, found.roll] == pytest.approx(wanted, abs=1e-6)
