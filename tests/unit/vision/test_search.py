"""The search with the real models in synthetic rooms: smallest face, delay and cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import DetectorModel, Manifest
from appliance.values import Box, Face, Image, Tensor
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.search import FaceSearch
from appliance.vision.tracking.tracker import Tracker
from tests.fakes.parts import noise, picture
from tests.fakes.synthetic_rooms import Cutout, PlacedPerson, Room, Shot, people_of

pytestmark = pytest.mark.slow

FPS = 15
EXPIRY_S = 2.0


class Counted:
    """An engine that counts its runs."""

    def __init__(self, path: Path) -> None:
        self._engine = TFLite(path)
        self.inputs, self.outputs = self._engine.inputs, self._engine.outputs
        self.runs = 0

    def run(self, tensor: Tensor) -> list[Tensor]:
        self.runs += 1
        return self._engine.run(tensor)

    def close(self) -> None:
        self._engine.close()


@dataclass
class Eyes:
    """A search and the engines it uses."""

    search: FaceSearch
    engines: tuple[Counted, ...]

    @property
    def runs(self) -> int:
        return sum(engine.runs for engine in self.engines)


@dataclass
class Seen:
    """The result of one frame: the faces by number, the detector runs, the faces beyond the limit."""

    shot: Shot
    people: dict[int, Face]
    runs: int
    beyond: int = 0

    def who(self, face: Box) -> int | None:
        """The number of the face found at a true face."""
        return next((number for number, found in self.people.items() if shows(found.box, face)), None)

    @property
    def extra(self) -> int:
        return len(self.people) - sum(self.who(face) is not None for face in self.shot.faces)


def shows(found: Box, face: Box) -> bool:
    """Detectors disagree about the edges of a face: the centre must be inside and the size similar."""
    x, y = found.center
    ratio = (found.area / face.area) ** 0.5
    return face.x <= x <= face.right and face.y <= y <= face.bottom and 0.5 < ratio < 2


@pytest.fixture(scope="module")
def models(models_dir: Path) -> tuple[DetectorModel, DetectorModel]:
    manifest = Manifest.load(models_dir)
    verifier = manifest.verifier("")
    assert verifier is not None
    return manifest.detector(""), verifier


@pytest.fixture(scope="module")
def eyes(models: tuple[DetectorModel, DetectorModel], models_dir: Path) -> Iterator[Eyes]:
    cv2.setNumThreads(1)
    engines = tuple(Counted(models_dir / model.file) for model in models)
    one, other = (
        BlazeFace(engine, model, threshold=0.5) for engine, model in zip(engines, models, strict=True)
    )
    made = Eyes(FaceSearch(one, other), engines)
    yield made
    made.search.close()


@pytest.fixture(scope="module")
def first_picture(demo_clip: Path) -> Image:
    capture = cv2.VideoCapture(str(demo_clip))
    done, image = capture.read()
    capture.release()
    assert done
    return np.asarray(image, np.uint8)


@pytest.fixture(scope="module")
def people(eyes: Eyes, first_picture: Image) -> list[Cutout]:
    return people_of(first_picture, eyes.search.find_all)


def watch(eyes: Eyes, video: Iterator[Shot] | chain[Shot], fps: float = FPS) -> list[Seen]:
    """Run the entire video through search and tracker, at `fps`."""
    eyes.search.reset()
    tracker, seen = Tracker(expiry_s=EXPIRY_S), []
    for number, shot in enumerate(video):
        now, before = number / fps, eyes.runs
        faces = eyes.search.find_next(shot.image, list(tracker.predict(now).values()), now)
        numbers = tracker.update(faces, now)
        people = dict(zip(numbers, faces, strict=True))
        seen.append(Seen(shot, people, eyes.runs - before, eyes.search.beyond_limit))
    return seen


def mean_runs(seen: Sequence[Seen]) -> float:
    """Detector runs per frame, without the first, which is searched completely."""
    return float(np.mean([frame.runs for frame in seen[1:]]))


# --- still pictures ---


@pytest.mark.parametrize("share", [0.2, 0.1, 0.06, 0.04, 0.03, 0.02])
def test_a_face_of_any_share_of_the_width_is_found(eyes: Eyes, people: list[Cutout], share: float) -> None:
    found = extra = 0
    for seed in range(6):
        place = PlacedPerson(people[seed % 2], share, 0.12 + 0.14 * seed, 0.25 + 0.08 * seed)
        shot = Room(seed).shot([place])
        faces = eyes.search.find_all(shot.image)
        hits = [face for face in faces if shows(face.box, shot.faces[0])]
        found += len(hits) == 1
        extra += len(faces) - len(hits)
    assert found >= 5 and extra <= 1


@pytest.mark.parametrize(
    ("shares", "most"),
    [
        ((0.2,), 7),  # the full picture and six tiles
        ((0.2, 0.02), 9),  # a far face also gets the third detection
        ((0.02,), 10),  # two squares, too
        ((), 9),
    ],
)
def test_near_faces_need_fewer_detector_runs(
    eyes: Eyes, people: list[Cutout], shares: tuple[float, ...], most: int
) -> None:
    places = [PlacedPerson(people[n], share, 0.25 + 0.5 * n) for n, share in enumerate(shares)]
    shot = Room(3).shot(places)
    detector, before = eyes.engines[0], eyes.engines[0].runs
    faces = eyes.search.find_all(shot.image)
    assert detector.runs - before <= most
    assert len(faces) == len(shares)


@pytest.mark.parametrize("share", [0.2, 0.06, 0.03])
def test_two_people_side_by_side_stay_separate(eyes: Eyes, people: list[Cutout], share: float) -> None:
    room = Room(7)
    tight = [Cutout(each.image[:, int(each.box.x * 0.75) : -1], each.box) for each in people]
    tight = [Cutout(each.image, each.box.moved(-int(each.box.x * 0.75), 0)) for each in tight]
    shot = room.shot([PlacedPerson(tight[0], share, 0.4), PlacedPerson(tight[1], share, 0.4 + 1.3 * share)])
    faces = eyes.search.find_all(shot.image)
    assert len(faces) == 2
    assert all(any(shows(face.box, true) for face in faces) for true in shot.faces)


def test_keypoints_and_scores_belong_to_the_face(eyes: Eyes, first_picture: Image) -> None:
    faces = eyes.search.find_all(first_picture)
    assert len(faces) == 2
    for face in faces:
        assert 0.5 <= face.score <= 1
        for x, y in face.keypoints[:4]:
            assert face.box.x < x < face.box.right and face.box.y < y < face.box.bottom


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (720, 1280), (3840, 2160), (480, 480), (2000, 300), (200, 150)]
)
def test_a_face_is_found_in_a_picture_of_any_shape(
    eyes: Eyes, people: list[Cutout], width: int, height: int
) -> None:
    who = people[0]
    size = max(24, round(0.1 * width))
    image = picture(width, height, 120)
    scale = size / who.box.width
    small = cv2.resize(who.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:height, :width]
    left, top = (width - small.shape[1]) // 2, (height - small.shape[0]) // 2
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    true = Box(who.box.x * scale + left, who.box.y * scale + top, size, who.box.height * scale)
    (face,) = eyes.search.find_all(image)
    assert shows(face.box, true)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (40, 40), (7, 5)])
def test_a_picture_of_any_size_can_be_searched(eyes: Eyes, size: tuple[int, int]) -> None:
    image = noise(*size)
    assert all(isinstance(face, Face) for face in eyes.search.find_all(image))
    eyes.search.reset()
    for number in range(3):
        faces = eyes.search.find_next(image, [Box(0, 0, 5, 5)], number / FPS)
        assert all(isinstance(face, Face) for face in faces)


def test_without_a_verifier_the_detector_verifies(
    models: tuple[DetectorModel, DetectorModel], models_dir: Path, first_picture: Image
) -> None:
    search = FaceSearch(BlazeFace(TFLite(models_dir / models[0].file), models[0], threshold=0.5))
    assert len(search.find_all(first_picture)) == 2
    search.close()


# --- video ---


@pytest.mark.parametrize("share", [0.2, 0.06, 0.03])
def test_a_face_is_tracked_at_two_runs_a_frame(eyes: Eyes, people: list[Cutout], share: float) -> None:
    seen = watch(
        eyes, Room(2).video(45, lambda n: [PlacedPerson(people[0], share, 0.4 + 0.1 * np.sin(n / 9))])
    )
    assert sum(frame.who(frame.shot.faces[0]) == 1 for frame in seen) >= 43
    assert sum(frame.extra for frame in seen) <= 2
    assert mean_runs(seen) <= 2.05


def test_each_further_person_costs_at_most_one_more_run(eyes: Eyes, people: list[Cutout]) -> None:
    both = [PlacedPerson(people[0], 0.1, 0.3), PlacedPerson(people[1], 0.08, 0.6)]
    seen = watch(eyes, Room(4).video(45, lambda _: both))
    assert all(len(frame.people) == 2 for frame in seen[2:])
    assert mean_runs(seen) <= 3.05


@pytest.mark.parametrize("fps", [FPS, 2 * FPS])
@pytest.mark.parametrize("known", [True, False], ids=["next to a person", "in an empty room"])
@pytest.mark.parametrize("place", [(0.06, 0.2), (0.93, 0.8), (0.5, 0.15), (0.35, 0.6)])
def test_a_newcomer_is_found_within_a_second(
    eyes: Eyes, people: list[Cutout], place: tuple[float, float], known: bool, fps: int
) -> None:
    first = [PlacedPerson(people[1], 0.1, 0.7, 0.4)] if known else []
    enter = 12

    def script(number: int) -> list[PlacedPerson]:
        return first + ([PlacedPerson(people[0], 0.04, *place)] if number >= enter else [])

    seen = watch(eyes, Room(11).video(enter + fps + 1, script), fps)
    late = [frame.who(frame.shot.faces[-1]) is not None for frame in seen[enter:]].index(True)
    assert late <= fps
    assert mean_runs(seen[: enter + 1]) <= 2.05
    assert max(frame.runs for frame in seen[1:]) <= (3 if known else 2)


def test_a_faster_camera_costs_no_more_scans_a_second(eyes: Eyes, people: list[Cutout]) -> None:
    """A second of video at 15 and at 30 frames: each further frame costs one run for the tracked person."""

    def spent(fps: int) -> int:
        seen = watch(eyes, Room(2).video(2 * fps + 1, lambda _: [PlacedPerson(people[0], 0.1, 0.4)]), fps)
        return sum(frame.runs for frame in seen[1:])

    slow, fast = spent(FPS), spent(2 * FPS)
    assert fast - slow <= 2 * FPS + 8, "rechecks depend on frames, and two scans are saved at first"


def test_a_person_who_turns_away_and_back_keeps_the_id(eyes: Eyes, people: list[Cutout]) -> None:
    def script(number: int) -> list[PlacedPerson]:
        return [
            PlacedPerson(people[0], 0.08, 0.4, away=15 <= number < 40),
            PlacedPerson(people[1], 0.07, 0.7, away=45 <= number < 65),
        ]

    seen = watch(eyes, Room(5).video(80, script))
    assert set().union(*(frame.people for frame in seen)) == {1, 2}
    back = [frame.who(frame.shot.faces[0]) for frame in seen[40:50]]
    assert back[0] == 1 or back.index(1) <= 5, back
    assert len(seen[-1].people) == 2


def test_a_walking_person_keeps_the_id(eyes: Eyes, people: list[Cutout]) -> None:
    def across(number: int) -> list[PlacedPerson]:
        return [PlacedPerson(people[0], 0.06, 0.15 + 0.7 * number / 45, 0.45 + 0.02 * np.sin(number / 3))]

    seen = watch(eyes, Room(3).video(45, across))
    assert sum(frame.who(frame.shot.faces[0]) == 1 for frame in seen) >= 43
    assert set().union(*(frame.people for frame in seen)) == {1}


@pytest.mark.parametrize("seed", range(20, 24))
def test_an_empty_noisy_room_has_no_lasting_face(eyes: Eyes, seed: int) -> None:
    seen = watch(eyes, Room(seed, noise=5.0).video(30))
    assert longest_run([bool(frame.people) for frame in seen]) <= 0.3 * FPS
    assert max(frame.runs for frame in seen[1:]) <= 2


def test_a_cut_drops_all_faces_and_the_next_person_is_found(eyes: Eyes, people: list[Cutout]) -> None:
    there = [PlacedPerson(people[0], 0.1, 0.3), PlacedPerson(people[1], 0.1, 0.7)]
    video = chain(
        Room(30).video(15, lambda _: there),
        Room(31).video(15),
        Room(32).video(20, lambda _: [PlacedPerson(people[1], 0.06, 0.5)]),
    )
    seen = watch(eyes, video)
    assert longest_run([bool(frame.extra) for frame in seen[15:]]) <= 0.3 * FPS
    assert seen[-1].who(seen[-1].shot.faces[0]) is not None


def test_two_people_who_meet_never_share_one_face(eyes: Eyes, people: list[Cutout]) -> None:
    def script(number: int) -> list[PlacedPerson]:
        # The person behind is hidden while the other passes, and does not return.
        near = PlacedPerson(people[0], 0.12, 0.25 + 0.02 * number)
        return [PlacedPerson(people[1], 0.1, 0.5), near] if number < 10 else [near]

    seen = watch(eyes, Room(9).video(40, script))
    assert longest_run([len(frame.people) > len(frame.shot.faces) for frame in seen]) <= 0.3 * FPS


def test_no_more_faces_are_tracked_than_the_limit(
    models: tuple[DetectorModel, DetectorModel], models_dir: Path, first_picture: Image
) -> None:
    engines = [Counted(models_dir / model.file) for model in models]
    one, other = (
        BlazeFace(engine, model, threshold=0.5) for engine, model in zip(engines, models, strict=True)
    )
    search = FaceSearch(one, other, limit=1)
    faces = search.find_next(first_picture, [], 0.0)
    largest = max(faces, key=lambda face: face.box.area)
    for number in range(1, 13):
        before = sum(engine.runs for engine in engines)
        found = search.find_next(first_picture, [largest.box], number / FPS)
        assert any(face.box.iou(largest.box) > 0.5 for face in found)
        assert sum(engine.runs for engine in engines) - before <= 3
    search.close()


def test_faces_beyond_the_limit_are_counted_and_replace_lost_ones(eyes: Eyes, people: list[Cutout]) -> None:
    columns = [(0.1 + 0.2 * column, 0.2 + 0.5 * row) for row in range(2) for column in range(5)]
    crowd = [PlacedPerson(people[index % 2], 0.07, *place) for index, place in enumerate(columns)]
    seen = watch(eyes, Room(6).video(90, lambda number: crowd if number < 20 else crowd[1:]))
    counts = [frame.beyond for frame in seen]
    assert counts[:20] == [2] * 20, counts
    assert counts[75:] == [1] * 15, counts
    assert all(len(frame.people) == 8 for frame in (*seen[:20], *seen[75:]))
    assert max(frame.runs for frame in seen[1:]) <= 9


def test_the_first_frame_is_searched_completely_within_bounds(eyes: Eyes, people: list[Cutout]) -> None:
    shot = Room(1).shot([PlacedPerson(people[0], 0.03, 0.9, 0.8)])
    (frame,) = watch(eyes, iter([shot]))
    assert frame.who(shot.faces[0]) is not None
    assert frame.runs <= 9 + 2 * 8


def test_reset_or_another_frame_size_starts_over(eyes: Eyes, first_picture: Image) -> None:
    eyes.search.reset()
    assert len(eyes.search.find_next(first_picture, [], 0.0)) == 2
    before = eyes.runs
    assert len(eyes.search.find_next(first_picture[:, : first_picture.shape[1] // 2], [], 0.1)) == 1
    assert eyes.runs - before > 2
    eyes.search.reset()
    assert eyes.search.find_next(picture(1280, 720, 90), [], 0.2) == []


def longest_run(flags: Sequence[bool]) -> int:
    longest = now = 0
    for flag in flags:
        now = now + 1 if flag else 0
        longest = max(longest, now)
    return longest
