"""One person's scores over time and the label they get."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import Look, Scores
from appliance.vision.smoothing import Smoother
from tests.doubles.parts import scores

HAPPY, SAD = scores(happy=0.9, neutral=0.1), scores(sad=0.9, neutral=0.1)


def smoother(smoothing_s: float = 0.3, unsure_below: float = 0.0) -> Smoother:
    return Smoother(smoothing_s=smoothing_s, unsure_below=unsure_below)


@pytest.mark.parametrize("rate", [5, 10, 30, 100])
def test_smoothing_takes_its_time_constant_whatever_the_frame_rate(rate: int) -> None:
    person = smoother(0.4)
    person.add(Look(scores(neutral=1)), 0.0)
    for index in range(1, 2 * rate + 1):
        smoothed, _ = person.add(Look(scores(happy=1)), index / rate)
        assert smoothed is not None
        assert smoothed.named()["happy"] == pytest.approx(1 - math.exp(-(index / rate) / 0.4), abs=1e-6)


def test_without_smoothing_the_scores_are_the_raw_ones() -> None:
    person = smoother(0.0)
    person.add(Look(HAPPY), 0.0)
    assert person.add(Look(SAD), 0.1) == (SAD, "sad")


def test_a_small_top_score_is_unsure() -> None:
    person = smoother(unsure_below=0.5)
    assert person.add(Look(scores(happy=0.45, sad=0.4, fear=0.15)), 0.0)[1] == "unsure"
    assert smoother(unsure_below=0.5).add(Look(scores(happy=0.5, sad=0.5)), 0.0)[1] == "happy"


def test_a_face_that_cannot_be_read_has_no_scores_and_no_expression() -> None:
    person = smoother()
    person.add(Look(HAPPY), 0.0)
    assert person.add(Look(None, "turned"), 0.1) == (None, "not_readable")


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=7, max_size=7), min_size=1, max_size=12), st.floats(0, 2)
)
def test_smoothed_scores_sum_to_one_and_stay_between_the_raw_ones(
    weights: list[list[float]], step: float
) -> None:
    person = smoother()
    raws = [Scores.of(np.array(each)) for each in weights]
    for index, raw in enumerate(raws):
        smoothed, _ = person.add(Look(raw), index * step)
        assert smoothed is not None and sum(smoothed.values) == pytest.approx(1.0)
        for place, value in enumerate(smoothed.values):
            known = [each.values[place] for each in raws[: index + 1]]
            assert min(known) - 1e-9 <= value <= max(known) + 1e-9
