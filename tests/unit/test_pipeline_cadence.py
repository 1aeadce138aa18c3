"""Steady faces in the pipeline, with the real models: fewer runs, the same result, newcomers as early."""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from appliance.inference.engines.tflite import TFLite
from appliance.inference.manifest import Manifest
from appliance.pipeline import NOT_AGREED, Pipeline, ReadingPolicy
from appliance.ports import Engine
from appliance.values import Consent, Frame, Image, Reading, Tensor
from appliance.vision.detection.blazeface import BlazeFace
from appliance.vision.detection.face_models import FaceModels
from appliance.vision.detection.search import FaceSearch
from appliance.vision.expression.classifier import ExpressionClassifier
from appliance.vision.tracking.tracker import Tracker
from appliance.workers import TwoWorkers


@pytest.fixture(scope="module")
def two_people(demo_clip: Path) -> Image:
    capture = cv2.VideoCapture(str(demo_clip))
    image = np.asarray(capture.read()[1], np.uint8)
    capture.release()
    return image


class Counting(TFLite):
    """Counts its runs."""

    runs = 0

    def run(self, tensor: Tensor) -> list[Tensor]:
        self.runs += 1
        return super().run(tensor)


class Reader:
    """A pipeline that counts the runs of its classifier and its verifier."""

    def __init__(
        self,
        models: Path,
        *,
        every_frame: bool = False,
        smoothing_s: float = 0.8,
        two_workers: bool = False,
    ) -> None:
        manifest = Manifest.load(models)
        detector, verifier = manifest.detector(""), manifest.detector("blazeface-short-int8")
        classifier = manifest.classifier("")
        self.classifier = Counting(manifest.verified(classifier))
        self.verifier = Counting(manifest.verified(verifier))
        wide: Engine = TFLite(manifest.verified(detector))

        def second() -> FaceModels:
            return FaceModels(
                BlazeFace(TFLite(manifest.verified(verifier)), verifier, threshold=0.5),
                ExpressionClassifier(TFLite(manifest.verified(classifier)), classifier),
            )

        close = BlazeFace(self.verifier, verifier, threshold=0.5)
        expression = ExpressionClassifier(self.classifier, classifier)
        self.workers = None
        if two_workers:
            first = FaceModels(close, expression)
            self.workers = TwoWorkers("vision-2", first, second, from_people=3, limit_s=8.0)
        self.pipeline = Pipeline(
            FaceSearch(BlazeFace(wide, detector, threshold=0.5), close, workers=self.workers),
            expression,
            Tracker(expiry_s=2.0),
            ReadingPolicy(smoothing_s=smoothing_s),
            max_people=8,
            is_video=False,
            every_frame=every_frame,
            workers=self.workers,
        )
        self.number, self.now = 0, 0.0

    def read(self, image: Image, seconds: float, fps: float) -> list[Reading]:
        readings = []
        for _ in range(round(seconds * fps)):
            readings.append(self.pipeline.read(Frame(self.number, self.now, noisy(image, self.number))))
            self.number, self.now = self.number + 1, self.now + 1 / fps
        return readings

    def close(self) -> None:
        self.pipeline.close()


def noisy(image: Image, seed: int) -> Image:
    """The picture with a camera's noise."""
    noise = np.random.default_rng(seed).normal(0.0, 2.0, image.shape)
    return np.asarray(np.clip(image + noise, 0, 255), np.uint8)


def small(image: Image) -> Image:
    return np.asarray(cv2.resize(image, (640, 360), interpolation=cv2.INTER_AREA), np.uint8)


def test_the_cost_per_second_is_the_same_at_15_30_and_60_frames(models_dir: Path, two_people: Image) -> None:
    a_second = {}
    for fps in (15.0, 30.0, 60.0):
        reader = Reader(models_dir)
        reader.read(small(two_people), 1.2, fps)
        before = reader.classifier.runs, reader.verifier.runs
        reader.read(small(two_people), 1.0, fps)
        a_second[fps] = reader.classifier.runs - before[0], reader.verifier.runs - before[1]
        reader.close()
    for classified, verified in a_second.values():
        assert abs(classified - 30) <= 2, "two people, 15 times each"
        assert verified <= classified


def test_a_frame_between_two_readings_carries_the_result_on(models_dir: Path, two_people: Image) -> None:
    reader = Reader(models_dir)
    readings = reader.read(small(two_people), 1.5, 30.0)
    reader.close()
    carried = 0
    for before, after in zip(readings[-15:], readings[-14:], strict=False):
        for one, other in zip(before.people, after.people, strict=True):
            assert other.expression.scores and other.smoothed and other.movement
            carried += one is other
    assert carried >= 10
    assert all(len(reading.people) == 2 for reading in readings)


@pytest.mark.parametrize(("every_frame", "smoothing_s"), [(True, 0.8), (False, 0.0)])
def test_every_frame_is_read_where_each_must_be(
    models_dir: Path, two_people: Image, every_frame: bool, smoothing_s: float
) -> None:
    reader = Reader(models_dir, every_frame=every_frame, smoothing_s=smoothing_s)
    readings = reader.read(small(two_people), 1.0, 30.0)
    reader.close()
    assert reader.classifier.runs == sum(len(reading.people) for reading in readings)


def test_another_expression_is_classified_in_its_first_frame(models_dir: Path, two_people: Image) -> None:
    image, reader = small(two_people), Reader(models_dir)
    readings = reader.read(image, 1.5, 60.0)
    left, _ = readings[-1].people
    changed = image.copy()
    changed[:, :320] = cv2.flip(image, 1)[:, :320]  # the other person's face, about where this one was
    (reading,) = reader.read(changed, 1 / 60, 60.0)
    reader.close()
    assert all(person is not left for person in reading.people)


def test_a_newcomer_is_found_as_early_and_who_left_is_gone(models_dir: Path, two_people: Image) -> None:
    image = small(two_people)
    alone = image.copy()
    alone[:, 320:] = 90
    first, last = [], []
    for every_frame in (True, False):
        reader = Reader(models_dir, every_frame=every_frame)
        assert all(len(reading.people) == 1 for reading in reader.read(alone, 1.5, 30.0))
        readings = reader.read(image, 1.0, 30.0)
        first.append(next(n for n, reading in enumerate(readings) if len(reading.people) == 2))
        readings = reader.read(alone, 0.5, 30.0)
        last.append(next(n for n, reading in enumerate(readings) if len(reading.people) == 1))
        reader.close()
    assert abs(first[1] - first[0]) <= 2
    assert last[0] == last[1]


def test_consent_counts_in_the_next_frame(models_dir: Path, two_people: Image) -> None:
    image, reader = small(two_people), Reader(models_dir)
    reader.pipeline.limit_to(Consent(1))
    reader.read(image, 1.5, 30.0)
    reader.pipeline.limit_to(Consent(2))
    reader.read(image, 1.5, 30.0)
    reader.pipeline.limit_to(Consent(2, unconfirmed=True))
    (reading,) = reader.read(image, 1 / 30, 30.0)
    reader.close()
    assert [person.expression for person in reading.people] == [NOT_AGREED] * 2


def test_two_workers_give_what_one_gives(models_dir: Path, two_people: Image) -> None:
    people = small(two_people)
    four = np.concatenate([people, people[:, ::-1]], axis=0)
    one, two = Reader(models_dir), Reader(models_dir, two_workers=True)
    assert two.workers
    two.workers.prepare(4)
    barrier = threading.Barrier(2)
    while len(set(two.workers.map(lambda models, _: meet(barrier), range(2)))) < 2:
        pass  # the second one is still opening its models
    expected, found = one.read(four, 1.2, 30.0), two.read(four, 1.2, 30.0)
    one.close()
    two.close()
    assert [reading.people for reading in found] == [reading.people for reading in expected]
    assert len(found[-1].people) == 4
    assert two.classifier.runs < one.classifier.runs, "the second worker took part"


def meet(barrier: threading.Barrier) -> int:
    """The current thread, after two threads have met, or neither has come within a moment."""
    try:
        barrier.wait(0.5)
    except threading.BrokenBarrierError:
        barrier.reset()
    return threading.get_ident()
