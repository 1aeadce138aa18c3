"""How often steady faces are read: by the clock, spread over the frames, and at once when one changes."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from appliance.values import Box, Image
from appliance.vision.tracking.cadence import CLASSIFIED_PER_S, STEADY_S, Cadence, Look

BOXES = {
    1: Box(100.0, 80.0, 120.0, 120.0),
    2: Box(300.0, 90.0, 100.0, 100.0),
    3: Box(450.0, 60.0, 90.0, 90.0),
}


@pytest.fixture
def room() -> Image:
    """A picture with coarse texture everywhere."""
    random = np.random.default_rng(7)
    return np.asarray(np.kron(random.integers(40, 200, (40, 60, 3)), np.ones((10, 10, 1))), np.uint8)


class Watcher:
    """Plans frame by frame, and reports every planned face as detected where it was."""

    def __init__(self, fps: float, boxes: dict[int, Box]) -> None:
        self.cadence, self.fps, self.boxes = Cadence(), fps, boxes
        self.number = 0

    def frame(self, image: Image, *, steady: bool = True) -> dict[int, Look]:
        now = self.number / self.fps
        self.number += 1
        looks = dict(self.cadence.plan(image, self.boxes, now))
        for id, look in looks.items():
            if look is not Look.REST:
                self.cadence.add(id, self.boxes[id], image, now, detected=look is Look.READ, steady=steady)
        return looks

    def run(self, image: Image, seconds: float, *, steady: bool = True) -> list[dict[int, Look]]:
        return [self.frame(image, steady=steady) for _ in range(round(seconds * self.fps))]


def classified(looks: list[dict[int, Look]], id: int) -> int:
    return sum(frame[id] is not Look.REST for frame in looks)


@pytest.mark.parametrize("fps", [10.0, 15.0, 24.0, 25.0, 30.0, 60.0])
@pytest.mark.parametrize("people", [1, 3])
def test_a_steady_face_is_classified_equally_often_at_every_frame_rate(
    room: Image, fps: float, people: int
) -> None:
    watcher = Watcher(fps, {id: BOXES[id] for id in range(1, people + 1)})
    watcher.run(room, 2.0)
    looks = watcher.run(room, 4.0)
    for id in watcher.boxes:
        assert abs(classified(looks, id) / 4.0 - min(CLASSIFIED_PER_S, fps)) <= 1.0
        rests = "".join("-" if frame[id] is Look.REST else "x" for frame in looks).split("x")
        assert max(map(len, rests)) <= fps / CLASSIFIED_PER_S, "never long without a reading"


def test_an_uneven_camera_of_15_frames_a_second_has_every_frame_classified(room: Image) -> None:
    cadence, random, now = Cadence(), np.random.default_rng(3), 0.0
    seen: list[Look] = []
    for _ in range(120):
        now += 1 / 15 + float(random.uniform(-0.008, 0.008))
        looks = cadence.plan(room, [1], now)
        cadence.add(1, BOXES[1], room, now, detected=looks[1] is Look.READ, steady=True)
        seen.append(looks[1])
    assert seen.count(Look.REST) <= 4


def test_the_work_of_several_people_is_spread_over_the_frames(room: Image) -> None:
    watcher = Watcher(30.0, BOXES)
    watcher.run(room, 2.0)
    work = Counter(sum(look is not Look.REST for look in frame.values()) for frame in watcher.run(room, 2.0))
    assert set(work) <= {1, 2}


def test_a_still_face_is_detected_less_often_than_it_is_classified(room: Image) -> None:
    watcher = Watcher(30.0, {1: BOXES[1]})
    watcher.run(room, 2.0)
    counted = Counter(frame[1] for frame in watcher.run(room, 4.0))
    assert 0 < counted[Look.READ] <= counted[Look.CLASSIFY] / 2


def test_a_new_face_is_read_in_every_frame_until_it_has_been_steady_for_a_while(room: Image) -> None:
    watcher = Watcher(30.0, {1: BOXES[1]})
    assert {frame[1] for frame in watcher.run(room, STEADY_S)} == {Look.READ}


@pytest.mark.parametrize("shift", [6, 30])
def test_a_face_that_moves_is_read_in_the_same_frame(room: Image, shift: int) -> None:
    watcher = Watcher(60.0, {1: BOXES[1]})
    watcher.run(room, 2.0)
    while watcher.frame(room)[1] is not Look.REST:
        pass
    assert watcher.frame(np.roll(room, shift, axis=1))[1] is Look.READ


def test_a_lamp_is_no_change(room: Image) -> None:
    watcher = Watcher(30.0, {1: BOXES[1]})
    watcher.run(room, 2.0)
    brighter = np.asarray(room + 20, np.uint8)
    assert Look.REST in {watcher.frame(brighter)[1], watcher.frame(brighter)[1]}


def test_changing_scores_and_a_moving_box_end_steadiness(room: Image) -> None:
    watcher = Watcher(30.0, {1: BOXES[1]})
    watcher.run(room, 2.0)
    watcher.run(room, 0.1, steady=False)
    assert {frame[1] for frame in watcher.run(room, 0.4)} == {Look.READ}
    watcher.run(room, 2.0)
    watcher.boxes = {1: BOXES[1].moved(12.0, 0.0)}
    looks = watcher.run(room, 0.4)
    first = next(index for index, frame in enumerate(looks) if frame[1] is Look.READ)
    assert {frame[1] for frame in looks[first:]} == {Look.READ}


def test_a_pause_reads_everyone(room: Image) -> None:
    watcher = Watcher(30.0, BOXES)
    watcher.run(room, 2.0)
    watcher.number += 60
    assert set(watcher.frame(room).values()) == {Look.READ}
    watcher.cadence.reset()
    assert set(watcher.frame(room).values()) == {Look.READ}


def test_a_face_at_the_edge_or_outside_the_picture_is_compared(room: Image) -> None:
    watcher = Watcher(30.0, {1: Box(-60.0, 380.0, 90.0, 90.0), 2: Box(900.0, 900.0, 10.0, 10.0)})
    assert len(watcher.run(room, 1.0)) == 30


@pytest.mark.parametrize("fps", [2.5, 3.0, 4.0, 5.0])
def test_a_still_face_of_few_frames_is_detected_often_enough_for_its_movement(
    room: Image, fps: float
) -> None:
    watcher = Watcher(fps, {1: BOXES[1]})
    watcher.run(room, 4.0)
    looks = [frame[1] for frame in watcher.run(room, 8.0)]
    apart = "".join("x" if look is Look.READ else "-" for look in looks).split("x")
    assert (1 + max(map(len, apart))) / fps < 1.0, "a longer gap restarts the measurement of movement"
