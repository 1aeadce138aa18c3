"""Who is who over time: numbers, crossings, expiry, and each person's own smoothed scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import Face, Person, Scores
from appliance.vision.tracker import Tracker
from tests.doubles.parts import face, scores

SIDE = 100.0
HAPPY, SAD = scores(happy=0.9, neutral=0.1), scores(sad=0.9, neutral=0.1)
RATES = [5, 8, 10, 15, 30]


def tracker(smoothing_s: float = 0.3, expiry_s: float = 2.0) -> Tracker:
    return Tracker(smoothing_s=smoothing_s, expiry_s=expiry_s)


def who(people: tuple[Person, ...], at: Face) -> Person:
    """The person whose face this is."""
    (found,) = [person for person in people if person.face is at]
    return found


class Scene:
    """Two people who move along straight lines; the one behind is unseen while the other covers them."""

    def __init__(
        self,
        near: Callable[[float], float],
        far: Callable[[float], float],
        *,
        noise: float = 0.0,
        hides: float = 0.6,
    ) -> None:
        self._near, self._far, self._noise, self._hides = near, far, noise, hides
        self._random = np.random.default_rng(1)
        self.unseen_s = 0.0
        self._was = 0.0

    def at(self, now: float) -> tuple[Face, Face | None]:
        dx, dy, ex, ey = self._random.normal(0, self._noise, 4) if self._noise else (0, 0, 0, 0)
        front, back = self._near(now), self._far(now)
        hidden = abs(front - back) < self._hides * SIDE
        self.unseen_s += (now - self._was) if hidden else 0.0
        self._was = now
        return face(front + dx, 300 + dy, SIDE), None if hidden else face(back + ex, 305 + ey, SIDE * 0.9)


def numbers_kept(scene: Scene, rate: int, seconds: float) -> None:
    """Follow the scene and hold the tracker to: same number before and after, scores never mixed up."""
    followed = tracker()
    first: tuple[int, int] | None = None
    for index in range(int(seconds * rate)):
        now = index / rate
        front, back = scene.at(now)
        faces = [front] if back is None else [back, front] if index % 2 else [front, back]
        people = followed.update(faces, [SAD if found is back else HAPPY for found in faces], now)
        if back is None:
            assert first is not None
            assert who(people, front).id == first[0], (
                f"at {now:.2f} s the one in front took the other's number"
            )
            continue
        found = who(people, front).id, who(people, back).id
        first = first or found
        assert found == first, f"at {now:.2f} s: {found} instead of {first}"
        assert who(people, front).label == "happy" and who(people, back).label == "sad"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("speed", [60, 100, 170])
@pytest.mark.parametrize("noise", [0.0, 1.5], ids=["steady", "noisy"])
def test_two_people_who_cross_keep_their_numbers(rate: int, speed: int, noise: float) -> None:
    # The two walk towards each other, both at `speed` pixels a second, their faces 100 pixels wide.
    middle, meet = 600.0, 250 / speed
    scene = Scene(
        lambda now: middle - 250 + speed * now,
        lambda now: middle + 250 - speed * now,
        noise=noise,
        hides=0.55,
    )
    numbers_kept(scene, rate, 2 * meet)
    assert scene.unseen_s < 1.2


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(("fast", "slow"), [(150, 20), (200, 60), (120, 0)])
@pytest.mark.parametrize("hidden_is_fast", [True, False], ids=["fast one behind", "slow one behind"])
def test_two_people_who_pass_at_unequal_speeds_keep_their_numbers(
    rate: int, fast: int, slow: int, hidden_is_fast: bool
) -> None:
    def runs(now: float) -> float:
        return 200 + fast * now

    def strolls(now: float) -> float:
        return 500 - slow * now

    scene = Scene(strolls, runs, hides=0.5) if hidden_is_fast else Scene(runs, strolls, hides=0.5)
    numbers_kept(scene, rate, 600 / (fast + slow))


@pytest.mark.parametrize("rate", RATES)
def test_one_who_overtakes_the_other_keeps_the_number(rate: int) -> None:
    numbers_kept(Scene(lambda now: 200 + 220 * now, lambda now: 400 + 60 * now, hides=0.5), rate, 2.6)


@pytest.mark.parametrize("rate", RATES)
def test_two_who_meet_and_turn_back_in_sight_keep_their_numbers(rate: int) -> None:
    def left(now: float) -> float:
        return 300 + 80 * min(now, 3.0 - now)

    def right(now: float) -> float:
        return 700 - 80 * min(now, 3.0 - now)

    numbers_kept(Scene(left, right, hides=0.5), rate, 3.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_a_number_is_kept_in_spite_of_noise(rate: int, noise: float) -> None:
    random = np.random.default_rng(3)
    followed = tracker()
    for index in range(3 * rate):
        x, y, side = (
            300 + random.normal(0, noise),
            200 + random.normal(0, noise),
            100 + random.normal(0, 2 * noise),
        )
        (person,) = followed.update([face(x, y, side)], [HAPPY], index / rate)
        assert person.id == 1


@pytest.mark.parametrize(("rate", "pan"), [(5, 350), (8, 560), (15, 1050), (30, 1000)])
def test_a_camera_that_is_turned_mixes_nobody_up(rate: int, pan: int) -> None:
    # Three people 1.3 faces apart; the picture moves by up to 0.7 faces a frame, from rest.
    followed = tracker()
    for index in range(3 * rate):
        now = index / rate
        shift = pan * max(0.0, now - 1.0)
        faces = [face(100 + 130 * place + shift, 300, SIDE) for place in range(3)]
        people = followed.update(faces, [HAPPY, SAD, HAPPY], now)
        assert [who(people, found).id for found in faces] == [1, 2, 3], f"at {now:.2f} s"


@pytest.mark.parametrize("gap_s", [0.3, 0.7, 1.9])
def test_one_who_was_out_of_sight_for_a_moment_keeps_the_number(gap_s: float) -> None:
    followed = tracker(expiry_s=2.0)
    for index in range(10):
        followed.update([face(300, 300, SIDE)], [HAPPY], index / 10)
    followed.update([], [], 0.9 + gap_s / 2)
    (person,) = followed.update([face(305, 298, SIDE)], [HAPPY], 0.9 + gap_s)
    assert person.id == 1


def test_one_who_is_gone_expires_and_comes_back_as_somebody_new() -> None:
    followed = tracker(expiry_s=2.0)
    followed.update([face(300, 300, SIDE)], [HAPPY], 0.0)
    assert followed.update([], [], 2.1) == ()
    (person,) = followed.update([face(300, 300, SIDE)], [SAD], 2.1)
    assert person.id == 2
    assert person.smoothed == person.raw == SAD, "nothing of the one before is left"


def test_nobody_is_reported_who_is_not_in_this_frame() -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE), face(600, 300, SIDE)], [HAPPY, SAD], 0.0)
    (person,) = followed.update([face(600, 300, SIDE)], [SAD], 0.1)
    assert person.id == 2


@pytest.mark.parametrize(
    "other",
    [face(300 + 2.5 * SIDE, 300, SIDE), face(300, 300, 3 * SIDE), face(300, 300, SIDE / 3)],
    ids=["elsewhere", "three times as large", "three times as small"],
)
def test_a_newcomer_gets_a_new_number(other: Face) -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], [HAPPY], 0.0)
    (person,) = followed.update([other], [SAD], 0.1)
    assert person.id == 2
    assert person.smoothed == SAD


def test_a_newcomer_beside_a_known_face_takes_nobodys_number() -> None:
    followed = tracker()
    known = face(300, 300, SIDE)
    followed.update([known], [HAPPY], 0.0)
    newcomer, moved = face(360, 300, SIDE), face(304, 300, SIDE)
    people = followed.update([newcomer, moved], [SAD, HAPPY], 0.1)
    assert who(people, moved).id == 1
    assert who(people, newcomer).id == 2 and who(people, newcomer).smoothed == SAD


def test_a_number_is_never_given_twice() -> None:
    followed = tracker(expiry_s=0.5)
    seen = [followed.update([face(300, 300, SIDE)], [HAPPY], float(second))[0].id for second in range(5)]
    assert seen == [1, 2, 3, 4, 5]


def test_people_come_in_the_order_of_their_numbers() -> None:
    followed = tracker()
    one, two = face(700, 300, SIDE), face(100, 300, SIDE)
    followed.update([one, two], [HAPPY, SAD], 0.0)
    assert [person.id for person in followed.update([two, one], [SAD, HAPPY], 0.1)] == [1, 2]


@pytest.mark.parametrize("rate", [5, 10, 30, 100])
def test_smoothing_takes_its_time_constant_whatever_the_frame_rate(rate: int) -> None:
    followed, here = tracker(smoothing_s=0.4), face(300, 300, SIDE)
    followed.update([here], [scores(neutral=1)], 0.0)
    for index in range(1, 2 * rate + 1):
        (person,) = followed.update([here], [scores(happy=1)], index / rate)
        expected = 1 - math.exp(-(index / rate) / 0.4)
        assert person.smoothed.named()["happy"] == pytest.approx(expected, abs=1e-6)
        assert person.raw == scores(happy=1), "the raw scores are kept beside the smoothed ones"


def test_without_smoothing_the_scores_are_the_raw_ones() -> None:
    followed, here = tracker(smoothing_s=0.0), face(300, 300, SIDE)
    followed.update([here], [HAPPY], 0.0)
    (person,) = followed.update([here], [SAD], 0.1)
    assert person.smoothed == person.raw == SAD


@settings(deadline=None)
@given(
    st.lists(st.lists(st.floats(0.01, 1), min_size=7, max_size=7), min_size=1, max_size=12), st.floats(0, 2)
)
def test_smoothed_scores_sum_to_one_and_stay_between_the_raw_ones(
    weights: list[list[float]], step: float
) -> None:
    followed, here = tracker(), face(300, 300, SIDE)
    raws = [Scores.of(np.array(each)) for each in weights]
    for index, raw in enumerate(raws):
        (person,) = followed.update([here], [raw], index * step)
        assert sum(person.smoothed.values) == pytest.approx(1.0)
        for place, value in enumerate(person.smoothed.values):
            known = [each.values[place] for each in raws[: index + 1]]
            assert min(known) - 1e-9 <= value <= max(known) + 1e-9


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_the_faces_does_not_matter(order: list[int]) -> None:
    followed = tracker()
    faces = [face(100 + 200 * place, 300, SIDE) for place in range(4)]
    raws = [HAPPY, SAD, scores(fear=1), scores(angry=1)]
    followed.update(faces, raws, 0.0)
    moved = [face(110 + 200 * place, 300, SIDE) for place in range(4)]
    people = followed.update([moved[place] for place in order], [raws[place] for place in order], 0.1)
    assert [person.id for person in people] == [1, 2, 3, 4]
    assert [person.face for person in people] == moved
    assert [person.label for person in people] == ["happy", "sad", "fear", "angry"]


def test_two_frames_of_the_same_instant_are_no_trouble() -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], [HAPPY], 1.0)
    (person,) = followed.update([face(310, 300, SIDE)], [HAPPY], 1.0)
    assert person.id == 1
    (person,) = followed.update([face(310, 300, SIDE)], [HAPPY], 1.1)
    assert person.id == 1


def test_after_reset_numbers_begin_at_one() -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], [HAPPY], 0.0)
    followed.reset()
    (person,) = followed.update([face(300, 300, SIDE)], [SAD], 0.1)
    assert person.id == 1 and person.smoothed == SAD
