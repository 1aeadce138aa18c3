"""The figures of a face detector on pictures whose faces are marked: pure arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from appliance.commands.evaluate.figures import Rate, rate
from appliance.values import Box

RULE = (
    "a face is found when a box that was not used for another face has its centre inside the marked one and"
    " a size (root of the area) between 0.5 and 2 times as large"
)
"""How marked and found boxes are compared, in words, for the report."""

EDGES = (0.0, 0.02, 0.03, 0.04, 0.06, 0.10, 0.20)
"""Where each range of face widths begins, as shares of the picture's width; the last one is open."""

_SIZES = (0.5, 2.0)


@dataclass(frozen=True)
class Marked:
    """A face that somebody marked: its box in pixels, and of what kind it is said to be."""

    box: Box
    kind: str = "face"


@dataclass(frozen=True)
class Examined:
    """One picture: its name and width, the faces marked in it, and the boxes that were found."""

    name: str
    width: int
    marked: tuple[Marked, ...]
    found: tuple[Box, ...]


@dataclass(frozen=True)
class WidthRange:
    """The faces from `low` to under `high` of the picture's width; `high` None: all that are wider."""

    low: float
    high: float | None
    recall: Rate


@dataclass(frozen=True)
class Miss:
    """A marked face that was not found; `share`: its width as a share of the picture's."""

    picture: str
    box: tuple[float, float, float, float]
    share: float
    kind: str


@dataclass(frozen=True)
class FaceFigures:
    """Everything that is told about a detector; `misses` begin with the widest."""

    rule: str
    recall: Rate
    widths: tuple[WidthRange, ...]
    kinds: dict[str, Rate]
    found_boxes: int
    false_boxes: int
    false_per_picture: float | None
    pictures_with_false_boxes: int
    misses: tuple[Miss, ...]


def face_figures(pictures: Sequence[Examined]) -> FaceFigures:
    """All figures of these pictures; there may be none."""
    faces: list[tuple[Miss, bool]] = []
    false = []
    for picture in pictures:
        hits, left = match([each.box for each in picture.marked], picture.found)
        false.append(left)
        for each, hit in zip(picture.marked, hits, strict=True):
            box = each.box
            place = (box.x, box.y, box.width, box.height)
            faces.append((Miss(picture.name, place, box.width / picture.width, each.kind), hit))
    misses = sorted((face for face, hit in faces if not hit), key=lambda face: -face.share)
    return FaceFigures(
        rule=RULE,
        recall=_recall([hit for _, hit in faces]),
        widths=tuple(_widths(faces)),
        kinds={
            kind: _recall([hit for face, hit in faces if face.kind == kind])
            for kind in sorted({face.kind for face, _ in faces})
        },
        found_boxes=sum(len(picture.found) for picture in pictures),
        false_boxes=sum(false),
        false_per_picture=sum(false) / len(pictures) if pictures else None,
        pictures_with_false_boxes=sum(1 for left in false if left),
        misses=tuple(misses),
    )


def match(marked: Sequence[Box], found: Sequence[Box]) -> tuple[list[bool], int]:
    """Which marked boxes were found, by `RULE`, and how many found boxes are of no use: false."""
    free = list(found)
    hits = []
    for box in marked:
        fitting = next((each for each in free if _fits(each, box)), None)
        hits.append(fitting is not None)
        if fitting is not None:
            free.remove(fitting)
    return hits, len(free)


def _fits(found: Box, marked: Box) -> bool:
    x, y = found.center
    inside = marked.x <= x <= marked.right and marked.y <= y <= marked.bottom
    smallest, largest = _SIZES
    return inside and smallest < math.sqrt(found.area / marked.area) < largest


def _widths(faces: Sequence[tuple[Miss, bool]]) -> list[WidthRange]:
    ends: list[float | None] = [*EDGES[1:], None]
    return [
        WidthRange(low, high, _recall([hit for face, hit in faces if low <= face.share < (high or math.inf)]))
        for low, high in zip(EDGES, ends, strict=True)
    ]


def _recall(hits: Sequence[bool]) -> Rate:
    return rate(sum(hits), len(hits))
