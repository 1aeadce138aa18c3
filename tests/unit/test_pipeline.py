"""One frame through detector, aligner, classifier and tracker, with the real models on the demo clip."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.pipeline import NOT_AGREED, Pipeline, ReadingPolicy
from appliance.values import EMOTIONS, NOT_ANALYSED, Box, Consent, Frame, Image, Person, Tensor
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.search import FaceSearch
from appliance.vision.expression.classifier import ExpressionClassifier
from appliance.vision.tracking.tracker import Tracker
from tests.fakes.parts import picture

FRAMES = 30


@pytest.fixture(scope="module")
def clip(demo_clip: Path) -> list[Image]:
    capture = cv2.VideoCapture(str(demo_clip))
    images = [np.asarray(capture.read()[1], np.uint8) for _ in range(FRAMES)]
    capture.release()
    return images


@pytest.fixture(params=[8])
def pipeline(request: pytest.FixtureRequest, models_dir: Path) -> Iterator[Pipeline]:
    manifest = Manifest.load(models_dir)
    detector, classifier = manifest.detector(""), manifest.classifier("")
    made = Pipeline(
        FaceSearch(BlazeFace(TFLite(manifest.verified(detector)), detector, threshold=0.5)),
        ExpressionClassifier(TFLite(manifest.verified(classifier)), classifier),
        Tracker(expiry_s=2.0),
        ReadingPolicy(smoothing_s=0.3),
        max_people=request.param,
    )
    yield made
    made.close()


def frame(image: Image, number: int = 0) -> Frame:
    return Frame(number, time.monotonic(), image, number / 30)


def test_two_faces_have_two_different_results(pipeline: Pipeline, clip: list[Image]) -> None:
    reading = pipeline.read(frame(clip[0]))
    assert len(reading.people) == 2
    one, other = reading.people
    assert one.face.box.iou(other.face.box) == 0.0
    assert {one.label, other.label} == {"happy", "neutral"}
    for person in reading.people:
        assert person.expression.scores and sum(person.expression.scores.values) == pytest.approx(1.0)
        assert person.smoothed == person.expression.scores, "nothing to smooth in the first frame"


def test_ids_and_expressions_are_stable_through_the_clip(pipeline: Pipeline, clip: list[Image]) -> None:
    dominant: dict[int, set[str]] = {}
    for number, image in enumerate(clip):
        taken = Frame(number, number / 30, image, number / 30)
        for person in pipeline.read(taken).people:
            dominant.setdefault(person.id, set()).add(person.label)
    assert sorted(dominant) == [1, 2]
    assert sorted(dominant.values(), key=sorted) == [{"happy"}, {"neutral"}]


@pytest.mark.parametrize("pipeline", [1], indirect=True)
def test_the_largest_of_too_many_faces_are_read(pipeline: Pipeline, clip: list[Image]) -> None:
    image = clip[0].copy()
    half = cv2.resize(image[:, :640], None, fx=0.6, fy=0.6)
    image[:, :640] = 0
    image[: half.shape[0], : half.shape[1]] = half  # the person on the left is now small
    (only,) = pipeline.read(frame(image)).people
    assert only.face.box.center[0] > 640


@pytest.mark.parametrize("pipeline", [1], indirect=True)
def test_the_limit_applies_to_videos_but_not_to_still_pictures(pipeline: Pipeline, clip: list[Image]) -> None:
    still = pipeline.read_still(clip[0])
    assert (len(still.people), still.beyond_limit) == (2, 0)
    readings = [pipeline.read(Frame(number, number / 15, image)) for number, image in enumerate(clip)]
    assert all(len(reading.people) == 1 for reading in readings)
    assert [reading.beyond_limit for reading in readings[-10:]] == [1] * 10


@pytest.mark.parametrize("is_video", [True, False])
def test_people_have_new_ids_after_each_hard_cut(models_dir: Path, clip: list[Image], is_video: bool) -> None:
    manifest = Manifest.load(models_dir)
    detector, classifier = manifest.detector(""), manifest.classifier("")
    pipeline = Pipeline(
        FaceSearch(BlazeFace(TFLite(manifest.verified(detector)), detector, threshold=0.5)),
        ExpressionClassifier(TFLite(manifest.verified(classifier)), classifier),
        Tracker(expiry_s=2.0),
        ReadingPolicy(),
        max_people=8,
        is_video=is_video,
    )
    halves = [[image[:, :640] for image in clip], [image[:, 640:] for image in clip]]
    cut = [image for take in range(4) for image in halves[take % 2][:10]]
    readings = [pipeline.read(Frame(n, n / 25, np.ascontiguousarray(image))) for n, image in enumerate(cut)]
    numbers = [
        {person.id for reading in readings[n : n + 10] for person in reading.people} for n in range(0, 40, 10)
    ]
    assert all(len(reading.people) == 1 for reading in readings)
    assert numbers == ([{1}, {2}, {3}, {4}] if is_video else [{1}] * 4)
    first = readings[10].people[0]
    assert not is_video or first.smoothed == first.expression.scores, (
        "nothing is carried over from the previous take"
    )
    pipeline.reset()
    assert [person.id for person in pipeline.read(Frame(40, 40 / 25, cut[0])).people] == [1]
    pipeline.close()


def read_for(pipeline: Pipeline, clip: list[Image], begin: float, seconds: float) -> dict[str, Person]:
    """Read the clip at 5 frames per second, forwards and backwards; the last result of each label."""
    back_and_forth = [*clip, *clip[-2:0:-1]]
    found: dict[str, Person] = {}
    for index in range(round(seconds * 5)):
        now = begin + index / 5
        taken = Frame(index, now, back_and_forth[index % len(back_and_forth)], now)
        found = {person.label: person for person in pipeline.read(taken).people}
    return found


def test_a_calm_face_gets_a_baseline_and_a_smile_does_not(pipeline: Pipeline, clip: list[Image]) -> None:
    first = read_for(pipeline, clip, 0.0, 1.0)
    assert {person.expression.baseline for person in first.values()} == {None}
    found = read_for(pipeline, clip, 1.0, 11.0)
    calm, smile = found["neutral"].expression, found["happy"].expression
    assert calm.baseline == "running" and calm.strength is not None and calm.strength < 0.25
    assert calm.adjusted and calm.scores and calm.adjusted != calm.scores
    assert smile == replace(smile, adjusted=None, strength=None, baseline=None)
    pipeline.reset()
    assert read_for(pipeline, clip, 100.0, 1.0)["neutral"].expression.baseline is None


def test_a_baseline_taken_on_purpose_needs_no_neutral_face(pipeline: Pipeline, clip: list[Image]) -> None:
    read_for(pipeline, clip, 0.0, 1.0)
    pipeline.take_baselines(1.0)
    during = read_for(pipeline, clip, 1.0, 9.0)
    assert {person.expression.baseline for person in during.values()} == {"taking"}
    after = read_for(pipeline, clip, 10.0, 3.0)
    assert {person.expression.baseline for person in after.values()} == {"taken"}
    assert all((person.expression.strength or 0) < 0.25 for person in after.values())


def test_stamps_rise_and_skipped_frames_are_reported(pipeline: Pipeline, clip: list[Image]) -> None:
    taken = frame(clip[0])
    reading = pipeline.read(taken, skipped=3)
    stamps = reading.stamps
    assert stamps.captured == taken.captured <= stamps.detected <= stamps.classified <= time.monotonic()
    assert reading.skipped == 3
    assert reading.frame is taken


def test_after_reset_ids_start_again(pipeline: Pipeline, clip: list[Image]) -> None:
    pipeline.read(frame(clip[0]))
    pipeline.reset()
    mirrored = np.ascontiguousarray(clip[0][:, ::-1])
    people = pipeline.read(frame(mirrored)).people
    assert [person.id for person in people] == [1, 2]
    assert all(person.smoothed == person.expression.scores for person in people), "nothing carried over"


@pytest.mark.parametrize("size", [(1, 1), (1, 999), (640, 480)])
def test_a_picture_without_a_face_gives_a_reading_without_people(
    pipeline: Pipeline, size: tuple[int, int]
) -> None:
    reading = pipeline.read(frame(picture(*size)))
    assert reading.people == ()


class Counted(TFLite):
    """The real engine, which counts its runs."""

    runs = 0

    def run(self, tensor: Tensor) -> list[Tensor]:
        self.runs += 1
        return super().run(tensor)


def video(clip: list[Image], seconds: float = 1.0) -> list[Frame]:
    return [
        Frame(number, number / 15, clip[number % len(clip)], number / 15)
        for number in range(int(15 * seconds))
    ]


@pytest.mark.parametrize(
    ("agreed", "label"),
    [
        (Consent(1, Box(0.0, 0.0, 0.5, 1.0)), "happy"),  # who sits on the left
        (Consent(1, Box(0.5, 0.0, 0.5, 1.0)), "neutral"),
        (Consent(1), None),
    ],
)
def test_the_classifier_is_never_called_for_a_person_without_consent(
    models_dir: Path, clip: list[Image], agreed: Consent, label: str | None
) -> None:
    manifest = Manifest.load(models_dir)
    detector, classifier = manifest.detector(""), manifest.classifier("")
    engine = Counted(manifest.verified(classifier))
    pipeline = Pipeline(
        FaceSearch(BlazeFace(TFLite(manifest.verified(detector)), detector, threshold=0.5)),
        ExpressionClassifier(engine, classifier),
        Tracker(expiry_s=2.0),
        ReadingPolicy(smoothing_s=0.3),
        max_people=8,
    )
    try:
        pipeline.limit_to(agreed)
        analysed = 0
        for taken in video(clip):
            people = pipeline.read(taken).people
            assert len(people) == 2
            read = [person for person in people if person.label != NOT_ANALYSED]
            assert len(read) <= 1
            analysed += len(read)
            assert engine.runs == analysed, "once for each face that is read, never for another"
            for person in people:
                if person not in read:
                    assert (person.expression, person.smoothed, person.movement) == (NOT_AGREED, None, None)
        assert analysed > 5
        assert label is None or read[0].label == label
        pipeline.limit_to(None)
        assert len([person for person in pipeline.read(video(clip, 2)[-1]).people if person.smoothed]) == 2
    finally:
        pipeline.close()


def test_a_newcomer_is_not_read_until_the_operator_confirms(pipeline: Pipeline, clip: list[Image]) -> None:
    left = Consent(1, Box(0.0, 0.0, 0.5, 1.0))
    pipeline.limit_to(left)
    first = video(clip)
    assert any(person.smoothed for taken in first for person in pipeline.read(taken).people)
    later = first[-1].captured + 15.0
    for number in range(30):
        pipeline.read(Frame(100 + number, first[-1].captured + number / 2, np.zeros_like(clip[0])))
    labels = [
        {person.label for person in pipeline.read(replace(each, captured=later + each.captured)).people}
        for each in video(clip, 3.0)
    ]
    assert labels[-1] == {NOT_ANALYSED} and set().union(*labels) == {NOT_ANALYSED}
    pipeline.limit_to(replace(left, confirmations=1))
    seen = [pipeline.read(replace(each, captured=later + 4.0 + each.captured)).people for each in video(clip)]
    by_place = sorted(seen[-1], key=lambda person: person.face.box.x)
    assert [person.label != NOT_ANALYSED for person in by_place] == [True, False]


def test_no_face_is_read_outside_the_zone(pipeline: Pipeline, clip: list[Image]) -> None:
    pipeline.limit_to(Consent(2, Box(0.0, 0.0, 0.1, 0.1)))
    for taken in video(clip):
        assert all(person.label == NOT_ANALYSED for person in pipeline.read(taken).people)


def test_scores_have_the_names_of_the_contract(pipeline: Pipeline, clip: list[Image]) -> None:
    people = pipeline.read(frame(clip[0])).people
    assert all(person.label in EMOTIONS for person in people)


def test_a_still_picture_and_its_mirror_image_have_the_same_scores(
    pipeline: Pipeline, clip: list[Image]
) -> None:
    crop = clip[0][200:480, 240:520]
    one, other = (pipeline.read_crop(np.ascontiguousarray(each)) for each in (crop, crop[:, ::-1]))
    scores, mirrored = (reading.people[0].expression.scores for reading in (one, other))
    assert scores and mirrored
    assert scores.values == pytest.approx(mirrored.values, abs=1e-6)


def test_faces_of_a_shrunk_frame_are_in_pixels_of_the_source(pipeline: Pipeline, clip: list[Image]) -> None:
    small = np.asarray(cv2.resize(clip[0], (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
    whole = pipeline.read(frame(clip[0])).people
    pipeline.reset()
    shrunk = replace(frame(small), source_size=(1280, 720), full_size=lambda: clip[0])
    for before, after in zip(whole, pipeline.read(shrunk).people, strict=True):
        assert before.face.box.iou(after.face.box) > 0.8
        assert after.face.keypoints[2] == pytest.approx(before.face.keypoints[2], abs=15)
        assert before.label == after.label


def test_a_small_face_of_a_shrunk_frame_is_cropped_from_the_source(
    pipeline: Pipeline, clip: list[Image]
) -> None:
    calls: list[str] = []

    def full_size() -> Image:
        calls.append("decoded")
        return clip[0]

    for width, expected in ((640, []), (256, ["decoded", "decoded"])):
        size = width, width * 9 // 16
        small = np.asarray(cv2.resize(clip[0], size, interpolation=cv2.INTER_AREA), np.uint8)
        pipeline.reset()
        reading = pipeline.read(replace(frame(small), source_size=(1280, 720), full_size=full_size))
        assert len(reading.people) == 2
        assert calls == expected
