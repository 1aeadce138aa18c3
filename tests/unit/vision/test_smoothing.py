"""One person's scores over time and the label they get."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import EMOTIONS, ExpressionResult, Scores
from appliance.vision.expression.smoothing import Smoother
from tests.fakes.parts import scores

RATES = [5, 10, 15, 30]
HAPPY, SAD = scores(happy=0.9, neutral=0.1), scores(sad=0.9, neutral=0.1)
PLAIN = scores(neutral=0.75, sad=0.15, angry=0.1)
TORN = scores(neutral=0.42, sad=0.40, angry=0.1, fear=0.08)
"""A face between two expressions: the hardest to keep stable."""

SCATTER = 0.33
"""Noise of the scores' logarithms. Gives TORN a standard deviation of 0.08 per class and 0.13 from frame to
frame: as the most scattered tenth of real faces 80 pixels wide under sensor noise of 2.5 levels
(docs/quality.md)."""


def smoother(smoothing_s: float = 0.8, unsure_below: float = 0.0) -> Smoother:
    return Smoother(smoothing_s=smoothing_s, unsure_below=unsure_below)


def noisy(of: Scores, random: np.random.Generator) -> ExpressionResult:
    """The classifier's result for a face that shows `of`, in another frame with new sensor noise."""
    weights = np.maximum(np.array(of.values), 0.005)
    return ExpressionResult(Scores.of(weights * np.exp(random.normal(0, SCATTER, len(EMOTIONS)))))


def changes(labels: list[str]) -> int:
    return sum(one != other for one, other in itertools.pairwise(labels))


def test_scores_with_the_baseline_subtracted_come_first() -> None:
    assert smoother().add(ExpressionResult(SAD, adjusted=HAPPY), 0.0) == (HAPPY, "happy")


def test_the_noise_of_these_tests_matches_real_faces() -> None:
    random = np.random.default_rng(0)
    raw = np.array([look.scores.values for look in (noisy(TORN, random) for _ in range(2000)) if look.scores])
    assert raw.std(axis=0).max() > 0.075
    assert np.abs(np.diff(raw, axis=0)).sum(axis=1).mean() / 2 > 0.12


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("before", "after"), [(HAPPY, PLAIN), (PLAIN, HAPPY), (SAD, HAPPY), (TORN, HAPPY)])
def test_the_label_follows_a_cut_within_0_4_seconds(
    rate: int, seed: int, before: Scores, after: Scores
) -> None:
    random, person = np.random.default_rng(seed), smoother(unsure_below=0.5)
    for index in range(3 * rate):
        person.add(noisy(before, random), index / rate)
    labels = {}
    for index in range(3 * rate, 5 * rate):
        labels[index / rate - 3] = person.add(noisy(after, random), index / rate)[1]
    # Measured from the last frame before the cut, which may have happened at any time since.
    late = {label for passed, label in labels.items() if passed + 1 / rate > 0.4 + 1e-6}
    assert late == {after.dominant}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("face", [TORN, PLAIN, HAPPY])
def test_a_still_face_keeps_its_label(rate: int, face: Scores) -> None:
    """At most one change in ten seconds for nearly every noise sequence; without smoothing there are many."""
    random, most, raw = np.random.default_rng(rate), [], []
    for _ in range(40):
        person, looks = smoother(unsure_below=0.4), [noisy(face, random) for _ in range(10 * rate)]
        most.append(changes([person.add(look, index / rate)[1] for index, look in enumerate(looks)]))
        raw.append(changes([look.scores.dominant for look in looks if look.scores]))
    assert sum(each <= 1 for each in most) >= 38 and max(most) <= 3, most
    if face is TORN:
        assert np.mean(raw) > 5 * max(np.mean(most), 0.2)


@pytest.mark.parametrize("rate", RATES)
def test_the_scores_converge_to_those_of_the_face(rate: int) -> None:
    """The same mean at every frame rate, at most a second after a change."""
    person = smoother()
    for index in range(4 * rate):
        smoothed, _ = person.add(ExpressionResult(HAPPY if index < 2 * rate else PLAIN), index / rate)
        if index / rate % 2 > 1 and smoothed is not None:
            expected = HAPPY if index < 2 * rate else PLAIN
            assert smoothed.values == pytest.approx(expected.values, abs=0.06)


def test_a_single_frame_does_not_change_the_label() -> None:
    for rate in RATES:
        person = smoother(unsure_below=0.5)
        labels = [
            person.add(ExpressionResult(SAD if index == rate else HAPPY), index / rate)[1]
            for index in range(2 * rate)
        ]
        assert set(labels) == {"happy"}


def test_a_label_near_the_threshold_is_stable() -> None:
    random, person = np.random.default_rng(4), smoother(unsure_below=0.5)
    face = scores(neutral=0.5, sad=0.3, fear=0.2)
    labels = [person.add(noisy(face, random), index / 15)[1] for index in range(150)]
    assert changes(labels) <= 1


def test_without_smoothing_the_scores_are_the_raw_ones() -> None:
    person = smoother(0.0)
    person.add(ExpressionResult(HAPPY), 0.0)
    assert person.add(ExpressionResult(SAD), 0.1) == (SAD, "sad")


def test_a_low_top_score_is_unsure() -> None:
    person = smoother(unsure_below=0.5)
    assert person.add(ExpressionResult(scores(happy=0.45, sad=0.4, fear=0.15)), 0.0)[1] == "unsure"
    assert smoother(unsure_below=0.5).add(ExpressionResult(scores(happy=0.5, sad=0.5)), 0.0)[1] == "happy"


def test_an_unreadable_face_has_no_scores_and_no_expression() -> None:
    person = smoother()
    person.add(ExpressionResult(HAPPY), 0.0)
    assert person.readable
    assert person.add(ExpressionResult(None, "turned"), 0.1) == (None, "not_readable")
    assert not person.readable


def test_smoothing_continues_after_a_short_gap() -> None:
    """A single unreadable frame is reported, and the label after it is the same as before."""
    person = smoother(unsure_below=0.5)
    for index in range(30):
        person.add(ExpressionResult(HAPPY), index / 30)
    person.add(ExpressionResult(None, "blurred"), 1.0)
    smoothed, label = person.add(ExpressionResult(PLAIN), 1.03)
    assert label == "happy" and smoothed is not None and smoothed.named()["happy"] > 0.3


@pytest.mark.parametrize("unreadable", [True, False])
def test_smoothing_starts_over_after_a_long_gap(unreadable: bool) -> None:
    person = smoother(unsure_below=0.5)
    for index in range(30):
        person.add(ExpressionResult(HAPPY), index / 30)
    for index in range(30, 65) if unreadable else []:
        person.add(ExpressionResult(None, "turned"), index / 30)
    assert person.add(ExpressionResult(SAD), 65 / 30) == (SAD, "sad")


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
        smoothed, label = person.add(ExpressionResult(raw), index * step)
        assert smoothed is not None and sum(smoothed.values) == pytest.approx(1.0)
        assert label in EMOTIONS
        for place, value in enumerate(smoothed.values):
            known = [each.values[place] for each in raws[: index + 1]]
            assert min(known) - 1e-9 <= value <= max(known) + 1e-9


LEADER, RIVAL = scores(happy=0.5, neutral=0.42, sad=0.08), scores(happy=0.42, neutral=0.5, sad=0.08)
"""A lead of 0.08: less than a face with usual noise needs, more than a steady one needs."""
FAR_LEADER, FAR_RIVAL = scores(happy=0.57, neutral=0.43), scores(happy=0.43, neutral=0.57)
"""A lead of 0.14: more than a face with usual noise needs, less than a noisy one needs."""


@pytest.mark.parametrize("rate", RATES)
def test_a_low_noise_face_follows_a_small_lead(rate: int) -> None:
    person = smoother()
    labels = [
        person.add(ExpressionResult(LEADER if index < 10 * rate else RIVAL), index / rate)[1]
        for index in range(13 * rate)
    ]
    assert set(labels[: 10 * rate]) == {"happy"}
    assert set(labels[12 * rate :]) == {"neutral"}


@pytest.mark.parametrize("rate", [10, 15, 30])
def test_a_noisy_face_ignores_a_small_lead(rate: int) -> None:
    """Its scores vary by 0.3 from frame to frame around the same means."""
    person, swing = smoother(), 0.15
    labels = []
    for index in range(16 * rate):
        of = FAR_LEADER if index < 10 * rate else FAR_RIVAL
        happy, neutral = of.named()["happy"], of.named()["neutral"]
        off = -swing if index % 2 else swing
        raw = scores(happy=happy + off, neutral=neutral - off)
        labels.append(person.add(ExpressionResult(raw), index / rate)[1])
    assert set(labels[4 * rate :]) == {"happy"}
