"""Parts of a picture: they cover it, overlap enough, and detect faces that their edges cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.values import Box
from appliance.vision.detection.regions import (
    SMALLEST_PART,
    Region,
    square_around,
    squares,
    tiles,
    whole,
)
from tests.fakes.parts import noise


def all_regions(size: tuple[int, int]) -> list[Region]:
    return [whole(size), *squares(size), *tiles(size)]


SIDES = st.integers(1, 5000)


@given(SIDES, SIDES)
def test_every_part_is_inside_the_picture(width: int, height: int) -> None:
    for part in all_regions((width, height)):
        assert 0 <= part.left < part.right <= width and 0 <= part.top < part.bottom <= height


@given(st.integers(1020, 5000), st.integers(1020, 5000))
def test_tiles_cover_a_large_picture_and_overlap(width: int, height: int) -> None:
    seen = np.zeros((height // 20, width // 20), int)
    for part in tiles((width, height)):
        seen[part.top // 20 : -(-part.bottom // 20), part.left // 20 : -(-part.right // 20)] += 1
    assert seen.min() >= 1 and (seen > 1).any()


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ((1280, 720), (2, 6)),
        ((720, 1280), (2, 6)),
        ((3840, 2160), (2, 6)),
        ((640, 480), (2, 0)),
        ((1100, 1100), (0, 6)),
        ((400, 300), (0, 0)),
        ((40, 40), (0, 0)),
        ((1, 1), (0, 0)),
        ((5000, 40), (0, 0)),
    ],
)
def test_the_numbers_of_squares_and_tiles(size: tuple[int, int], count: tuple[int, int]) -> None:
    assert (len(squares(size)), len(tiles(size))) == count
    assert all(min(part.width, part.height) >= SMALLEST_PART for part in squares(size) + tiles(size))
    assert all(part.width == part.height for part in squares(size))


def test_the_number_of_parts_is_bounded() -> None:
    assert len(all_regions((20000, 400))) <= 13


def test_portrait_parts_are_transposed_landscape_parts() -> None:
    turned = [Region(part.top, part.left, part.bottom, part.right) for part in all_regions((720, 1280))]
    assert turned == all_regions((1280, 720))


def test_a_part_is_a_view_of_its_pixels() -> None:
    image = noise(60, 40)
    part = Region(10, 5, 30, 25)
    assert np.array_equal(part.of(image), image[5:25, 10:30]) and part.of(image).base is not None
    assert (part.width, part.height) == (20, 20)


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        (Box(100, 100, 50, 50), False),
        (Box(0, 100, 50, 50), False),
        (Box(-20, -20, 50, 50), False),
        (Box(440, 100, 60, 50), True),
        (Box(100, 350, 50, 50), True),
    ],
    ids=["inside", "at the picture's edge", "over its corner", "right edge", "lower edge"],
)
def test_only_inner_edges_cut(box: Box, cut: bool) -> None:
    assert Region(0, 0, 500, 400).cuts(box, (1280, 720)) == cut
    assert not whole((1280, 720)).cuts(box, (1280, 720))


def test_left_and_upper_inner_edges_cut_too() -> None:
    part = Region(400, 300, 900, 700)
    assert part.cuts(Box(401, 400, 50, 50), (1280, 720)) and part.cuts(Box(500, 301, 50, 50), (1280, 720))
    assert not part.cuts(Box(500, 400, 50, 50), (1280, 720))


@given(*[st.floats(-300, 1500)] * 2, *[st.floats(0, 900)] * 2, st.floats(1, 4), SIDES, SIDES)
def test_a_square_around_a_box_is_clipped_to_the_picture(
    x: float, y: float, w: float, h: float, factor: float, width: int, height: int
) -> None:
    part = square_around(Box(x, y, w, h), factor, (width, height))
    if part is not None:
        assert 0 <= part.left < part.right <= width and 0 <= part.top < part.bottom <= height


def test_a_square_around_a_box_in_the_middle() -> None:
    assert square_around(Box(90, 80, 20, 40), 2.5, (1280, 720)) == Region(50, 50, 150, 150)
    assert square_around(Box(-500, 0, 20, 20), 2.0, (1280, 720)) is None
