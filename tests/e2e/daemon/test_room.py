"""People from real clips in drawn rooms, and clips without people, if such clips are next to the checkout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.composition.reader import make_reader
from appliance.configuration.load import ConfigOptions, load_config
from appliance.pipeline import Pipeline
from appliance.values import Frame, Image
from tests.fakes.synthetic_rooms import Cutout, PlacedPerson, Room, cutout

FPS = 15
CLIPS = {
    "webcam_asl_640x480_30fps.mp4": 300,
    "pyfeat_WolfgangLanger_Pexels.mp4": 40,
    "pyfeat_single_face.mp4": 20,
    "liveportrait_driving_d9.mp4": 60,
}
"""A clip with one person, and a frame that shows the face."""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    made = make_reader(load_config(ConfigOptions(data_dir=tmp_path_factory.mktemp("state")), {})).pipeline
    yield made
    made.close()


@pytest.fixture(scope="module")
def people(pipeline: Pipeline, shared_data: Path) -> list[Cutout]:
    found = []
    for name, number in CLIPS.items():
        image = frames_of(shared_data / "videos" / name, number + 1)[number]
        (person,) = pipeline.read_still(image).people
        found.append(cutout(image, person.face.box, 0.8))
    return found


def frames_of(path: Path, most: int) -> list[Image]:
    capture = cv2.VideoCapture(str(path))
    images = []
    for _ in range(most):
        done, image = capture.read()
        if not done:
            break
        images.append(np.asarray(image, np.uint8))
    capture.release()
    return images


@pytest.mark.parametrize("share", [0.2, 0.06, 0.03])
def test_real_people_are_found_at_any_distance(
    pipeline: Pipeline, people: list[Cutout], share: float
) -> None:
    found = extra = 0
    for seed, who in enumerate(people * 2):
        shot = Room(seed).shot([PlacedPerson(who, share, 0.15 + 0.09 * seed, 0.3 + 0.05 * seed)])
        boxes = [person.face.box for person in pipeline.read_still(shot.image).people]
        hits = [box for box in boxes if box.iou(shot.faces[0]) > 0.3]
        found += len(hits) == 1
        extra += len(boxes) - len(hits)
    assert found >= 7 and extra <= 1


def test_a_real_newcomer_is_found_within_a_second(pipeline: Pipeline, people: list[Cutout]) -> None:
    enter, late = 10, []
    for seed, who in enumerate(people):
        there = PlacedPerson(people[seed - 1], 0.12, 0.5)
        newcomer = PlacedPerson(who, 0.04, 0.12 + 0.76 * (seed % 2), 0.25 + 0.15 * seed)
        pipeline.reset()
        video = Room(40 + seed).video(
            enter + FPS + 1, lambda n, a=there, b=newcomer: [a, b] if n >= enter else [a]
        )
        for number, shot in enumerate(video):
            seen = pipeline.read(Frame(number, number / FPS, shot.image)).people
            if number >= enter and any(person.face.box.iou(shot.faces[-1]) > 0.3 for person in seen):
                late.append(number - enter)
                break
    assert len(late) == len(people), late


def test_no_one_is_tracked_in_a_clip_without_people(pipeline: Pipeline, shared_data: Path) -> None:
    longest: dict[int, int] = {}
    pipeline.reset()
    for number, image in enumerate(frames_of(shared_data / "videos" / "pyfeat_no_face.mp4", 98)):
        for person in pipeline.read(Frame(number, number / 24, image)).people:
            longest[person.id] = longest.get(person.id, 0) + 1
    assert max(longest.values(), default=0) <= 0.3 * 24
