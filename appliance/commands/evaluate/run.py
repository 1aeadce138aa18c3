"""Runs the models on a data set, picture by picture, in one thread, as the reader requires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from appliance.commands.evaluate.datasets import AnnotatedPicture, LabelledPicture
from appliance.commands.evaluate.metrics import DetectedPicture
from appliance.commands.reporting import RunCounts, print_note
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.inputs import read_still_of
from appliance.media.stills import Still, decoder_note
from appliance.system.native import quiet_native_output
from appliance.values import EMOTIONS, Box, Image, Scores

_Item = TypeVar("_Item", LabelledPicture, AnnotatedPicture)

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
    samples: Sequence[LabelledPicture], reader: Reader, *, whole: bool, progress: bool, counts: RunCounts
) -> ExpressionPredictions:
    """Classify every picture as one cropped face, or with `whole` its largest face."""
    predictions: list[Prediction] = []
    not_read: Counter[str] = Counter()
    read = reader.pipeline.read_still if whole else reader.pipeline.read_crop
    for sample, image in _pictures(samples, progress, counts):
        reading = read(image)
        counts.add(reading)
        person = max(reading.people, key=lambda person: person.face.box.area, default=None)
        if person is None or person.expression.scores is None:
            not_read[(person and person.expression.reason) or NO_FACE] += 1
        else:
            predictions.append(
                Prediction(sample, person.expression.scores, person.face.box if whole else None)
            )
    return ExpressionPredictions(tuple(predictions), dict(sorted(not_read.items())), counts.failed)


def detect_faces(
    scenes: Sequence[AnnotatedPicture], reader: Reader, *, progress: bool, counts: RunCounts
) -> tuple[list[DetectedPicture], int]:
    """Detect faces in every picture; also returns how many files could not be opened."""
    found = []
    for scene, image in _pictures(scenes, progress, counts):
        reading = reader.pipeline.read_still(image)
        counts.add(reading)
        people = sorted(reading.people, key=lambda person: -person.face.score)
        boxes = tuple(person.face.box for person in people)
        found.append(DetectedPicture(scene.name, int(image.shape[1]), scene.faces, boxes))
    return found, counts.failed


def _pictures(items: Sequence[_Item], progress: bool, counts: RunCounts) -> Iterator[tuple[_Item, Image]]:
    """Each item with its picture; items that cannot be opened are reported on standard error and skipped."""
    with tqdm(total=len(items), unit="picture", disable=not progress, leave=False) as bar:
        for item in items:
            try:
                still = _read(item.path)
            except PictureError as error:
                counts.failed += 1
                print_note(str(error))
            else:
                counts.pictures += 1
                for note in still.notes:
                    print_note(f"{item.path}: {note}")
                yield item, still.image
            bar.update()


def _read(path: Path) -> Still:
    with quiet_native_output() as heard:
        still = read_still_of(path)
    return Still(still.image, (*still.notes, *map(decoder_note, heard[:1])))
