"""Drawing on a copy, at any size and place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.colours import bgr_of
from appliance.sinks.drawing import draw_people, placeholder
from appliance.values import Box, Face
from tests.fakes.parts import face, noise, person, picture, scores

HAPPY, SAD = scores(happy=1), scores(sad=1)


def test_the_picture_itself_is_unchanged() -> None:
    image = noise(320, 240)
    before = image.copy()
    image.flags.writeable = False
    drawn = draw_people(image, (person(1, face(160, 120, 80), HAPPY),))
    assert np.array_equal(image, before)
    assert not np.array_equal(drawn, before)


def test_without_people_the_picture_is_unchanged() -> None:
    image = noise(320, 240)
    drawn = draw_people(image, ())
    assert np.array_equal(drawn, image) and drawn is not image


def test_each_box_has_the_colour_of_its_smoothed_expression() -> None:
    people = (person(1, face(150, 240, 100), SAD, HAPPY), person(2, face(450, 240, 100), HAPPY, SAD))
    drawn = draw_people(picture(640, 480), people)
    assert tuple(drawn[250, 100].tolist()) == bgr_of("happy")
    assert tuple(drawn[250, 400].tolist()) == bgr_of("sad")


def test_fear_is_written_as_fearful(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(
        "appliance.sinks.drawing.cv2.putText", lambda canvas, text, *more: written.append(text)
    )
    draw_people(picture(640, 480), (person(1, face(320, 240, 100), scores(fear=1)),))
    assert written == ["1 fearful 1.00"]


def test_the_label_differs_from_person_to_person() -> None:
    one = draw_people(picture(640, 480), (person(1, face(320, 240, 100), HAPPY),))
    other = draw_people(picture(640, 480), (person(2, face(320, 240, 100), HAPPY),))
    assert not np.array_equal(one, other), "the number is shown, since colour alone is not enough"


@settings(deadline=None)
@given(
    st.tuples(st.integers(1, 400), st.integers(1, 400)),
    st.tuples(*[st.floats(-3000, 3000)] * 2),
    st.tuples(*[st.floats(-10, 3000)] * 2),
)
def test_any_box_on_any_picture(
    size: tuple[int, int], corner: tuple[float, float], extent: tuple[float, float]
) -> None:
    drawn = draw_people(picture(*size), (person(12, Face(Box(*corner, *extent), 0.5), HAPPY),))
    assert drawn.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("size", [(1280, 720), (320, 240), (64, 48), (1, 1), (2000, 40)])
@pytest.mark.parametrize("lines", [["NO LIVE VIDEO", "camera lost", "since 12:00:00"], ["X" * 400, ""], []])
def test_a_placeholder_of_any_size(size: tuple[int, int], lines: list[str]) -> None:
    drawn = placeholder(*size, lines)
    assert drawn.shape == (size[1], size[0], 3) and drawn.dtype == np.uint8


def test_a_placeholder_says_something_within_its_edges() -> None:
    drawn = placeholder(1280, 720, ["NO LIVE VIDEO", "a long reason " * 8, "since 12:00:00"])
    bright = np.argwhere(drawn.max(axis=2) > 128)
    assert len(bright) > 1000
    assert bright.min() > 0 and bright[:, 0].max() < 719 and bright[:, 1].max() < 1279
