"""Nods, shakes, head speed and body movement, in synthetic videos and in the demo clip."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.reading_json import reading_json
from appliance.values import Box, Face, Image, Movement
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.motion.body import body_change
from appliance.vision.motion.frame_pair import LONG_SIDE, FramePairBuilder
from appliance.vision.motion.head_pose import estimate_pose
from appliance.vision.motion.movement import MotionEstimator
from appliance.vision.motion.nods import head_angles
from tests.fakes.movers import (
    BLANK,
    Act,
    Played,
    Stage,
    Way,
    bouts,
    counted,
    play,
    play_head,
    swings,
    times,
)
from tests.fakes.parts import face, frame, noise, person, reading, scores

RATES = (5, 10, 15, 30)
CALM = 0.01


def swaying(reach: float, rate: float) -> Way:
    return lambda time: (reach * math.sin(math.tau * rate * time), 0.0)


def shaken(reach_px: float) -> Way:
    """A camera that trembles: a new position each thirtieth of a second, close to the previous one."""
    steps = np.random.default_rng(3).normal(0, reach_px, (600, 2))
    steps = (steps + np.roll(steps, 1, axis=0)) / math.sqrt(2)
    return lambda time: tuple(steps[round(time * 30)])


def read(played: Played) -> list[Movement]:
    return [movement for _, movement in played if movement is not None]


def bodies(played: Played) -> list[float]:
    return [movement.body for movement in read(played) if movement.body is not None]


# --- nods and shakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fps", "rate"), [(5, 1), (10, 1), (10, 2), (15, 1), (15, 2), (30, 1), (30, 2), (30, 3)]
)
def test_nods_are_counted_and_are_not_shakes(fps: int, rate: float) -> None:
    played = play_head(Act(pitch=bouts(rate, -12.0, 3, every=5.0)), fps, 21.0, jitter=0.005)
    assert counted(played, "nods") == pytest.approx(12, abs=1)
    assert counted(played, "shakes") == 0


@pytest.mark.parametrize(("fps", "rate"), [(10, 2), (15, 1), (15, 2), (15, 3), (30, 1), (30, 2), (30, 3)])
def test_shakes_are_counted_and_are_not_nods(fps: int, rate: float) -> None:
    played = play_head(Act(yaw=swings(rate, 8.0, 3, every=5.0)), fps, 21.0, jitter=0.005)
    assert counted(played, "shakes") == pytest.approx(12, abs=2)
    assert counted(played, "nods") == 0


def test_a_tilted_head_nods_too_and_upwards_as_well() -> None:
    for degrees, roll in ((-15.0, 25.0), (15.0, 0.0)):
        act = Act(pitch=bouts(1.5, degrees, 2, every=4.0), roll=roll)
        assert counted(play_head(act, 30, 20.0, jitter=0.005), "nods") == pytest.approx(10, abs=1)


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("jitter", [0.005, 0.01])
def test_a_still_person_has_no_movement(fps: int, jitter: float) -> None:
    movements = read(play_head(Act(), fps, 20.0, jitter, seed=5))
    assert not any(movement.nods or movement.shakes for movement in movements)
    assert max(movement.head for movement in movements) < 0.03


@pytest.mark.parametrize(
    "act",
    [
        Act(head=lambda time: (0.0, 0.15 * math.sin(math.tau * 1.5 * time))),
        Act(head=swaying(0.3, 1.0)),
        Act(pitch=lambda time: -20.0 if 4.0 < time < 8.0 else 0.0),
        Act(yaw=bouts(1.0, 25.0, 1, every=5.0)),
    ],
    ids=["bobbing", "swaying", "reading notes", "a look to one side"],
)
def test_other_movements_are_neither_nods_nor_shakes(act: Act) -> None:
    played = play_head(act, 30, 20.0, jitter=0.005)
    assert (counted(played, "nods"), counted(played, "shakes")) == (0, 0)


@pytest.mark.parametrize("fps", RATES)
def test_each_nod_is_in_exactly_one_of_the_seconds(fps: int) -> None:
    played = play_head(Act(pitch=bouts(1.0, -20.0, 3, every=5.0)), fps, 21.0, jitter=0.002)
    figures = [movement.nods if movement else 0 for _, movement in played]
    whole = [sum(figures[phase::fps]) for phase in range(fps)]
    # For each choice of frame in a second; a second is cut off at both ends.
    assert max(whole) - min(whole) <= 1 and max(whole) == 12


# --- the head's speed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("speed", [0.1, 0.5, 2.0])
def test_speed_of_a_steadily_moving_head(fps: int, speed: float) -> None:
    movements = read(play_head(Act(head=lambda time: (speed * time, 0.0)), fps, 5.0, jitter=0.005))
    assert movements[-1].head == pytest.approx(speed, rel=0.2)


def test_speed_of_a_swaying_head_is_its_mean() -> None:
    movements = read(play_head(Act(head=swaying(0.3, 1.0)), 30, 6.0, jitter=0.005))
    assert np.mean([movement.head for movement in movements]) == pytest.approx(4 * 0.3, rel=0.15)


# --- which values exist, and when ---------------------------------------------------------------------------


@pytest.mark.parametrize("fps", RATES)
def test_movement_needs_half_a_second_and_restarts_after_a_gap(fps: int) -> None:
    mover, stage = MotionEstimator(), Stage(width=64, height=64)
    for begin in (0.0, 10.0):
        for time in times(fps, 2.0):
            seen = stage.face(Act(), begin + time)
            movement = mover.add(BLANK, seen, None, begin + time)
            assert (movement is None) == (time < 0.5 - 1e-9), time
            assert movement is None or movement.head < 0.05


def test_a_face_without_keypoints_still_has_a_speed() -> None:
    mover = MotionEstimator()
    for time in times(10, 3.0):
        movement = mover.add(BLANK, Face(Box(100 * time, 0, 100, 100), 0.9), None, time)
    assert movement == Movement(pytest.approx(1.0, rel=0.1), None, 0, 0)  # type: ignore[arg-type]
    assert head_angles(Face(Box(0, 0, 9, 9), 0.9), None) is None


def test_body_is_none_when_the_face_is_at_the_lower_edge() -> None:
    played = play(Stage(face_y=0.85), Act(), 10, 2.0)
    assert read(played) and bodies(played) == []
    assert bodies(play(Stage(face_y=0.5), Act(), 10, 2.0))
    unseen = replace(person(1, face(9, 9, 9), scores()), movement=Movement(0.12, None, 0, 0))
    found = reading_json(reading(frame(), unseen), "test")["faces"][0]["movement"]
    assert found == {"head": 0.12, "body": None, "nods": 0, "shakes": 0}


# --- the body: no movement ---------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "act",
    [
        Act(),
        Act(light=lambda time: 1 + 0.1 * math.sin(math.tau * 7.3 * time)),
        Act(banding=lambda _time: 0.08),
        Act(light=lambda time: 1.5 if time > 2 else 1.0),
        Act(light=lambda time: 0.5 + 0.2 * time),
        Act(lamp=lambda time: 0.7 if time > 2 else 0.0),
        Act(camera_px=lambda time: (30 * time, 10 * time)),
        Act(camera_px=shaken(2.0)),
        Act(pitch=bouts(2.0, -15.0, 3, every=3.0)),
        Act(head=swaying(0.3, 0.5)),
    ],
    ids=[
        "still",
        "flicker",
        "banding",
        "exposure step",
        "exposure ramp",
        "lamp",
        "pan",
        "shake",
        "nods",
        "head sways",
    ],
)
@pytest.mark.parametrize("fps", [5, 30])
def test_a_still_body_has_no_movement(act: Act, fps: int) -> None:
    assert max(bodies(play(Stage(noise=4.0), act, fps, 3.0))) < CALM


@pytest.mark.slow
@pytest.mark.parametrize("way", [lambda time: (30 * time, 10 * time), shaken(1.5)], ids=["pan", "shake"])
def test_camera_movement_is_not_head_movement(way: Way) -> None:
    moved = read(play(Stage(), Act(camera_px=way), 30, 4.0))
    seen_alone = read(play_head(Act(head=lambda time: tuple(p / 72 for p in way(time))), 30, 4.0, 0.005))
    speed, alone = (np.mean([movement.head for movement in each]) for each in (moved, seen_alone))
    assert speed < 0.05 and speed < alone / 3


def test_noise_of_a_dark_room_is_not_movement() -> None:
    stage = Stage(noise=12.0)
    assert max(bodies(play(stage, Act(light=lambda _time: 0.35), 15, 4.0))) < CALM


# --- the body: movement ------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("fps", RATES)
def test_body_increases_with_the_movement(fps: int) -> None:
    def mean(act: Act) -> float:
        return float(np.mean(bodies(play(Stage(noise=4.0), act, fps, 3.0))))

    small, arm = mean(Act(arm=swaying(0.1, 1.0))), mean(Act(arm=swaying(0.5, 1.0)))
    torso = mean(Act(torso=swaying(0.3, 1.0), head=swaying(0.3, 1.0)))
    assert 0.02 < small < arm < torso < 1.0
    assert arm == pytest.approx(0.19, abs=0.05), "the same at every frame rate"
    assert torso == pytest.approx(0.50, abs=0.1)


def test_a_moving_person_is_detected_with_a_moving_camera() -> None:
    act = Act(arm=swaying(0.5, 1.0), camera_px=lambda time: (40 * math.sin(time), 0.0))
    moving = np.mean(bodies(play(Stage(), act, 15, 4.0)))
    assert moving == pytest.approx(0.19, abs=0.08)


def test_a_person_moving_in_front_of_a_blank_wall_is_not_camera_movement() -> None:
    act = Act(torso=swaying(0.3, 1.0), head=swaying(0.3, 1.0))
    played = play(Stage(wall=0.0), act, 15, 3.0)
    assert np.mean(bodies(played)) > 0.2
    assert np.mean([movement.head for movement in read(played)]) > 0.7


# --- the view ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (720, 1280, 3), (90, 60)])
def test_pictures_of_any_size_have_a_frame_pair(shape: tuple[int, ...]) -> None:
    views, image = FramePairBuilder(), noise(200, 200)
    image = np.resize(image, shape)
    box = Box(0.0, 0.0, shape[1] / 3, shape[0] / 3)
    for time in times(10, 1.0):
        view = views.add(image, [box], time)
        assert max(view.now.shape) <= LONG_SIDE
        change = body_change(view, box)
        assert change is None or change == pytest.approx(0.0, abs=CALM)


def test_frames_of_another_size_or_video_are_not_compared() -> None:
    views, boxes = FramePairBuilder(), [Box(10, 10, 20, 20)]
    views.add(noise(320, 180), boxes, 0.0)
    assert views.add(noise(320, 240), boxes, 0.2).before is None
    assert views.add(noise(320, 240), boxes, 0.4).before is not None
    assert views.add(noise(320, 240), boxes, 3.0).before is None
    assert views.add(noise(320, 240), boxes, 1.0).before is None
    views.reset()
    assert views.add(noise(320, 240), boxes, 1.2).before is None
    assert views.add(noise(320, 240), [], 1.4).before is None


def test_the_drift_follows_the_camera() -> None:
    stage, views = Stage(), FramePairBuilder()
    act = Act(camera_px=lambda time: (25 * time, -15 * time))
    for time in times(15, 4.0):
        drift = views.add(stage.picture(act, time), [stage.face(act, time).box], time).drift
    assert drift == pytest.approx((100, -60), rel=0.1)


# --- a real clip ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(demo_clip: Path) -> list[Image]:
    capture = cv2.VideoCapture(str(demo_clip))
    images = [np.asarray(capture.read()[1], np.uint8) for _ in range(60)]
    capture.release()
    return images


def test_the_demo_clip_shows_two_people_who_sit_still(clip: list[Image], models_dir: Path) -> None:
    manifest = Manifest.load(models_dir)
    model = manifest.detector("")
    detector, views = BlazeFace(TFLite(manifest.verified(model)), model, threshold=0.5), FramePairBuilder()
    movers: dict[bool, MotionEstimator] = {False: MotionEstimator(), True: MotionEstimator()}
    found: list[Movement] = []
    for index, image in enumerate(clip):
        faces, now = detector.find(image), index / 30
        view = views.add(image, [each.box for each in faces], now)
        for each in faces:
            movement = movers[each.box.center[0] > 640].add(view, each, estimate_pose(each), now)
            found += [movement] if movement else []
    detector.close()
    assert len(found) > 60
    for movement in found:
        assert math.isfinite(movement.head) and 0 <= movement.head < 0.5
        assert movement.body is not None and 0 <= movement.body < 0.1
