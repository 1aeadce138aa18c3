"""Runs the models over a data set, picture by picture. Holds the reader, so it belongs to one thread."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from appliance.commands.evaluate.boxes import Scene
from appliance.commands.evaluate.datasets import Sample
from appliance.commands.evaluate.matching import Examined
from appliance.composition.reader import Reader
from appliance.errors import PictureError
from appliance.media.inputs import read_still_of
from appliance.media.stills import Still, complaint
from appliance.media.tally import Tally
from appliance.system.native import quiet_native_output
from appliance.values import EMOTIONS, Box, Image, Scores

_Item = TypeVar("_Item", Sample, Scene)

NO_FACE = "no face"
"""Why a picture was not read when nobody was found in it; the other reasons are those of `Look`."""


@dataclass(frozen=True)
class Verdict:
    """What the model said about one picture; `box`: where the face is, None when it is the whole picture."""

    sample: Sample
    scores: Scores
    box: Box | None = None


@dataclass(frozen=True)
class Judged:
    """Every verdict, why pictures were not read and how often, and how many files could not be opened."""

    verdicts: tuple[Verdict, ...]
    not_read: dict[str, int]
    failed: int

    @property
    def truth(self) -> NDArray[np.int64]:
        """The labels as indices into `EMOTIONS`, shape (n,)."""
        return np.array([EMOTIONS.index(each.sample.label) for each in self.verdicts], np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """The scores, shape (n, 7)."""
        return np.array([each.scores.values for each in self.verdicts], np.float64).reshape(-1, len(EMOTIONS))


def judge(samples: Sequence[Sample], reader: Reader, *, whole: bool, progress: bool, tally: Tally) -> Judged:
    """Read every picture: as one face cut out, or with `whole` the largest face found in it."""
    verdicts: list[Verdict] = []
    not_read: Counter[str] = Counter()
    read = reader.pipeline.read_still if whole else reader.pipeline.read_crop
    for sample, image in _pictures(samples, progress, tally):
        reading = read(image)
        tally.count(reading)
        person = max(reading.people, key=lambda person: person.face.box.area, default=None)
        if person is None or person.look.scores is None:
            not_read[(person and person.look.reason) or NO_FACE] += 1
        else:
            verdicts.append(Verdict(sample, person.look.scores, person.face.box if whole else None))
    return Judged(tuple(verdicts), dict(sorted(not_read.items())), tally.failed)


def examine(
    scenes: Sequence[Scene], reader: Reader, *, progress: bool, tally: Tally
) -> tuple[list[Examined], int]:
    """Look for faces in every picture; also how many files could not be opened."""
    found = []
    for scene, image in _pictures(scenes, progress, tally):
        reading = reader.pipeline.read_still(image)
        tally.count(reading)
        people = sorted(reading.people, key=lambda person: -person.face.score)
        boxes = tuple(person.face.box for person in people)
        found.append(Examined(scene.name, int(image.shape[1]), scene.faces, boxes))
    return found, tally.failed


def _pictures(items: Sequence[_Item], progress: bool, tally: Tally) -> Iterator[tuple[_Item, Image]]:
    """Each item with its picture; those that cannot be opened are named on standard error and left out."""
    with tqdm(total=len(items), unit="picture", disable=not progress, leave=False) as bar:
        for item in items:
            try:
                still = _read(item.path)
            except PictureError as error:
                tally.failed += 1
                _say(str(error))
            else:
                tally.pictures += 1
                for note in still.notes:
                    _say(f"{item.path}: {note}")
                yield item, still.image
            bar.update()


def _read(path: Path) -> Still:
    with quiet_native_output() as heard:
        still = read_still_of(path)
    return Still(still.image, (*still.notes, *map(complaint, heard[:1])))


def _say(text: str) -> None:
    tqdm.write(f"interview-grader: {text}", file=sys.stderr)
