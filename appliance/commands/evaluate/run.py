"""Runs the models on a data set, picture by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from appliance.commands.evaluate.datasets import AnnotatedPicture, LabelledPicture
from appliance.commands.evaluate.metrics import DetectedPicture
from appliance.commands.jobs import Jobs, read_in_order
from appliance.commands.reporting import Note, RunCounts, print_note
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.inputs import read_still_of
from appliance.media.stills import decoder_note
from appliance.system.native import quiet_native_output
from appliance.values import EMOTIONS, Box, Image, Scores

_Item = TypeVar("_Item", LabelledPicture, AnnotatedPicture)
_Result = TypeVar("_Result")

NO_FACE = "no face"
"""Reason for a picture without a face; the other reasons are those of `ExpressionResult`."""


@dataclass(frozen=True)
class Prediction:
    """The scores of one picture; `box`: where the face is, None if the picture is a cropped face."""

    sample: LabelledPicture
    scores: Scores
    box: Box | None = None


@dataclass(frozen=True)
class ExpressionPredictions:
    """All predictions; how many pictures were not read, by reason; how many files could not be opened."""

    predictions: tuple[Prediction, ...]
    not_read: dict[str, int]
    failed: int

    @property
    def truth(self) -> NDArray[np.int64]:
        """The labels as indices into `EMOTIONS`, shape (n,)."""
        return np.array([EMOTIONS.index(each.sample.label) for each in self.predictions], np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """The scores, shape (n, 7)."""
        return np.array([each.scores.values for each in self.predictions], np.float64).reshape(
            -1, len(EMOTIONS)
        )


def classify_pictures(
    samples: Sequence[LabelledPicture],
    reader: Reader,
    jobs: Jobs,
    *,
    whole: bool,
    progress: bool,
    counts: RunCounts,
) -> ExpressionPredictions:
    """Classify every picture as one cropped face, or with `whole` its largest face."""
    predictions: list[Prediction] = []
    not_read: Counter[str] = Counter()
    for found in _results(partial(_classify, whole), samples, reader, jobs, progress, counts):
        if isinstance(found, str):
            not_read[found] += 1
        else:
            predictions.append(found)
    return ExpressionPredictions(tuple(predictions), dict(sorted(not_read.items())), counts.failed)


def detect_faces(
    scenes: Sequence[AnnotatedPicture], reader: Reader, jobs: Jobs, *, progress: bool, counts: RunCounts
) -> tuple[list[DetectedPicture], int]:
    """Detect faces in every picture; also returns how many files could not be opened."""
    return list(_results(_detect, scenes, reader, jobs, progress, counts)), counts.failed


# --- one picture ---


@dataclass(frozen=True)
class _Done(Generic[_Result]):
    """The end of a picture, and its result; None if it could not be opened."""

    counts: RunCounts
    result: _Result | None = None


def _classify(
    whole: bool, reader: Reader, sample: LabelledPicture
) -> Iterator[Note | _Done[Prediction | str]]:
    """The prediction, or the reason why there is none."""
    counts = RunCounts()
    image = yield from _read(sample.path, counts)
    if image is None:
        yield _Done(counts)
        return
    reading = reader.pipeline.read_still(image) if whole else reader.pipeline.read_crop(image)
    counts.add(reading)
    person = max(reading.people, key=lambda person: person.face.box.area, default=None)
    if person is None or person.expression.scores is None:
        yield _Done(counts, (person and person.expression.reason) or NO_FACE)
    else:
        box = person.face.box if whole else None
        yield _Done(counts, Prediction(sample, person.expression.scores, box))


def _detect(reader: Reader, scene: AnnotatedPicture) -> Iterator[Note | _Done[DetectedPicture]]:
    counts = RunCounts()
    image = yield from _read(scene.path, counts)
    if image is None:
        yield _Done(counts)
        return
    reading = reader.pipeline.read_still(image)
    counts.add(reading)
    people = sorted(reading.people, key=lambda person: -person.face.score)
    boxes = tuple(person.face.box for person in people)
    yield _Done(counts, DetectedPicture(scene.name, int(image.shape[1]), scene.faces, boxes))


def _read(path: Path, counts: RunCounts) -> Generator[Note, None, Image | None]:
    """Yields notes; returns the picture, None if it cannot be opened."""
    try:
        with quiet_native_output() as heard:
            still = read_still_of(path)
    except PictureError as error:
        counts.failed += 1
        yield Note(str(error))
        return None
    counts.pictures += 1
    for note in (*still.notes, *map(decoder_note, heard[:1])):
        yield Note(f"{path}: {note}")
    return still.image


# --- all pictures ---


def _results(
    read: Callable[[Reader, _Item], Iterator[Note | _Done[_Result]]],
    items: Sequence[_Item],
    reader: Reader,
    jobs: Jobs,
    progress: bool,
    counts: RunCounts,
) -> Iterator[_Result]:
    """The results in order; items that cannot be opened are reported on standard error and skipped."""
    events = read_in_order(read, items, reader, jobs, lambda item: str(item.path))
    with closing(events), tqdm(total=len(items), unit="picture", disable=not progress, leave=False) as bar:
        for event in events:
            if isinstance(event, Note):
                print_note(event.text)
                continue
            counts.merge(event.counts)
            bar.update()
            if event.result is not None:
                yield event.result
