"""Geometry of the search: parts of a picture to scan, crops around a face, and distances between boxes.

A detector sees only its input (128 or 192 pixels a side). A face of 4 % of a picture's width has only 8
pixels there, which is too few. In a tile the same face is two to three times as large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance.values import Box, Image

TILES = (3, 2)
"""Tiles along the longer and the shorter side; they overlap by `TILE_OVERLAP` of their own extent."""

TILE_OVERLAP = 0.2
"""At least the width of the largest face that only a tile shows: no such face is cut in every tile."""

SMALLEST_PART = 390
"""Parts with a shorter side than this, in pixels, are not scanned: small faces in them are blurred."""

_SQUARE_OVERLAP = 0.1
_MOST_SQUARES = 6

_MAX_DISTANCE = 1.0
"""A face further from its expected place than this many face widths belongs to another person."""

MAX_SIZE_RATIO = 1.8
"""A face this many times larger or smaller than expected belongs to another person."""

_SAME_SIZE_RATIO = 1.5
"""Two detectors see the same face if the larger box is at most this many times as wide as the other."""

_EDGE = 0.01
"""An edge cuts a box that is closer to it than this share of the region's longer side."""


@dataclass(frozen=True)
class Region:
    """Part of a picture in integer pixels; `right` and `bottom` are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        """Pixels across."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels down."""
        return self.bottom - self.top

    def of(self, image: Image) -> Image:
        """The pixels of this region: a view, not a copy."""
        return image[self.top : self.bottom, self.left : self.right]

    def cuts(self, box: Box, size: tuple[int, int]) -> bool:
        """Whether a box touches an edge of this region that is not an edge of the picture.

        `box` in pixels of the picture, `size` its (width, height).
        """
        near = _EDGE * max(self.width, self.height)
        width, height = size
        return (
            (self.left > 0 and box.x < self.left + near)
            or (self.top > 0 and box.y < self.top + near)
            or (self.right < width and box.right > self.right - near)
            or (self.bottom < height and box.bottom > self.bottom - near)
        )

    def holds(self, box: Box) -> bool:
        """Whether the entire box is inside."""
        inside_x = self.left <= box.x and box.right <= self.right
        return inside_x and self.top <= box.y and box.bottom <= self.bottom


def whole(size: tuple[int, int]) -> Region:
    """The full picture of `size` (width, height)."""
    return Region(0, 0, size[0], size[1])


def squares(size: tuple[int, int]) -> list[Region]:
    """Squares of the shorter side along the longer one; none where one would cover the picture."""
    long, short = max(size), min(size)
    if short < SMALLEST_PART or long < short * (1 + _SQUARE_OVERLAP):
        return []
    count = math.ceil((long / short - _SQUARE_OVERLAP) / (1 - _SQUARE_OVERLAP))
    parts = _spread(long, short, min(count, _MOST_SQUARES))
    return [_oriented(size, along, (0, short)) for along in parts]


def tiles(size: tuple[int, int]) -> list[Region]:
    """Three by two tiles, the three along the longer side; none in a small picture."""
    long, short = max(size), min(size)
    count_long, count_short = TILES
    side_long, side_short = (
        math.ceil(side / (count - (count - 1) * TILE_OVERLAP))
        for side, count in ((long, count_long), (short, count_short))
    )
    if min(side_long, side_short) < SMALLEST_PART:
        return []
    return [
        _oriented(size, along, across)
        for across in _spread(short, side_short, count_short)
        for along in _spread(long, side_long, count_long)
    ]


def square_around(box: Box, factor: float, size: tuple[int, int]) -> Region | None:
    """A square of `factor` times a box's larger side around its centre, clipped to the picture.

    None if it is entirely outside a picture of `size` (width, height).
    """
    half = max(box.width, box.height, 1.0) * factor / 2
    cx, cy = box.center
    left, right = (min(max(0, round(x)), size[0]) for x in (cx - half, cx + half))
    top, bottom = (min(max(0, round(y)), size[1]) for y in (cy - half, cy + half))
    return Region(left, top, right, bottom) if right > left and bottom > top else None


def is_reachable(box: Box, place: Box) -> bool:
    """Whether a box may be the face that should be at `place`: near enough and of a similar size."""
    return face_widths_apart(box, place) <= _MAX_DISTANCE


def size_ratio(one: Box, other: Box) -> float:
    """How many times as wide the larger of two boxes is as the smaller, 1 or more."""
    sides = math.sqrt(max(one.area, 1.0)), math.sqrt(max(other.area, 1.0))
    return max(sides) / min(sides)


def is_same_size(one: Box, other: Box) -> bool:
    """Whether two detections may be the same face: part of a face is much smaller."""
    return size_ratio(one, other) <= _SAME_SIZE_RATIO


def face_widths_apart(box: Box, place: Box) -> float:
    """Distance of two centres in widths of the larger box; infinite where the sizes differ too much."""
    side, expected = math.sqrt(max(box.area, 1.0)), math.sqrt(max(place.area, 1.0))
    larger, smaller = max(side, expected), min(side, expected)
    (ax, ay), (bx, by) = box.center, place.center
    return math.hypot(ax - bx, ay - by) / larger if larger <= MAX_SIZE_RATIO * smaller else math.inf


def _spread(extent: int, side: int, count: int) -> list[tuple[int, int]]:
    """`count` intervals of `side` pixels spread evenly over `extent`."""
    last = extent - side
    starts = [round(last * index / (count - 1)) for index in range(count)] if count > 1 else [0]
    return [(start, start + side) for start in starts]


def _oriented(size: tuple[int, int], along: tuple[int, int], across: tuple[int, int]) -> Region:
    # `along` is on the longer side, which is the height of a portrait picture.
    horizontal, vertical = (along, across) if size[0] >= size[1] else (across, along)
    return Region(horizontal[0], vertical[0], horizontal[1], vertical[1])
