"""The tracker: ids, crossings, expiry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.values import Face
from appliance.vision.tracking.tracker import Tracker
from tests.fakes.parts import face

SIDE = 100.0
RATES = [5, 8, 10, 15, 30]


def tracker(expiry_s: float = 2.0) -> Tracker:
    return Tracker(expiry_s=expiry_s)


class Scene:
    """Two people who move along straight lines; the person behind is hidden while the other covers them."""

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
    """Run the scene and check: the same number before and after, and scores never mixed up."""
    followed = tracker()
    first: tuple[int, int] | None = None
    for index in range(int(seconds * rate)):
        now = index / rate
        front, back = scene.at(now)
        faces = [front] if back is None else [back, front] if index % 2 else [front, back]
        numbers = dict(zip(map(id, faces), followed.update(faces, now), strict=True))
        if back is None:
            assert first is not None
            assert numbers[id(front)] == first[0], (
                f"at {now:.2f} s the person in front got the other's number"
            )
            continue
        found = numbers[id(front)], numbers[id(back)]
        first = first or found
        assert found == first, f"at {now:.2f} s: {found} instead of {first}"


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("speed", [60, 100, 170])
@pytest.mark.parametrize("noise", [0.0, 1.5], ids=["steady", "noisy"])
def test_two_people_who_cross_keep_their_ids(rate: int, speed: int, noise: float) -> None:
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
def test_two_people_who_pass_at_different_speeds_keep_their_ids(
    rate: int, fast: int, slow: int, hidden_is_fast: bool
) -> None:
    def runs(now: float) -> float:
        return 200 + fast * now

    def strolls(now: float) -> float:
        return 500 - slow * now

    scene = Scene(strolls, runs, hides=0.5) if hidden_is_fast else Scene(runs, strolls, hides=0.5)
    numbers_kept(scene, rate, 600 / (fast + slow))


@pytest.mark.parametrize("rate", RATES)
def test_a_person_who_overtakes_keeps_the_id(rate: int) -> None:
    numbers_kept(Scene(lambda now: 200 + 220 * now, lambda now: 400 + 60 * now, hides=0.5), rate, 2.6)


@pytest.mark.parametrize("rate", RATES)
def test_two_people_who_meet_and_turn_back_keep_their_ids(rate: int) -> None:
    def left(now: float) -> float:
        return 300 + 80 * min(now, 3.0 - now)

    def right(now: float) -> float:
        return 700 - 80 * min(now, 3.0 - now)

    numbers_kept(Scene(left, right, hides=0.5), rate, 3.0)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("noise", [1.0, 4.0])
def test_an_id_is_kept_despite_noise(rate: int, noise: float) -> None:
    random = np.random.default_rng(3)
    followed = tracker()
    for index in range(3 * rate):
        x, y, side = (
            300 + random.normal(0, noise),
            200 + random.normal(0, noise),
            100 + random.normal(0, 2 * noise),
        )
        (number,) = followed.update([face(x, y, side)], index / rate)
        assert number == 1


@pytest.mark.parametrize(("rate", "pan"), [(5, 350), (8, 560), (15, 1050), (30, 1000)])
def test_a_panning_camera_does_not_mix_up_ids(rate: int, pan: int) -> None:
    # Three people 1.3 faces apart; the picture moves by up to 0.7 faces a frame, from rest.
    followed = tracker()
    for index in range(3 * rate):
        now = index / rate
        shift = pan * max(0.0, now - 1.0)
        faces = [face(100 + 130 * place + shift, 300, SIDE) for place in range(3)]
        assert followed.update(faces, now) == [1, 2, 3], f"at {now:.2f} s"


@pytest.mark.parametrize("gap_s", [0.3, 0.7, 1.9])
def test_a_short_absence_keeps_the_id(gap_s: float) -> None:
    followed = tracker(expiry_s=2.0)
    for index in range(10):
        followed.update([face(300, 300, SIDE)], index / 10)
    followed.update([], 0.9 + gap_s / 2)
    (number,) = followed.update([face(305, 298, SIDE)], 0.9 + gap_s)
    assert number == 1


def test_an_expired_track_comes_back_with_a_new_id() -> None:
    followed = tracker(expiry_s=2.0)
    followed.update([face(300, 300, SIDE)], 0.0)
    assert followed.update([], 2.1) == [] and not followed.ids
    (number,) = followed.update([face(300, 300, SIDE)], 2.1)
    assert number == 2


def test_only_faces_in_this_frame_are_reported() -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE), face(600, 300, SIDE)], 0.0)
    (number,) = followed.update([face(600, 300, SIDE)], 0.1)
    assert number == 2


@pytest.mark.parametrize(
    "other",
    [face(300 + 2.5 * SIDE, 300, SIDE), face(300, 300, 3 * SIDE), face(300, 300, SIDE / 3)],
    ids=["elsewhere", "three times as large", "three times as small"],
)
def test_a_newcomer_gets_a_new_id(other: Face) -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], 0.0)
    (number,) = followed.update([other], 0.1)
    assert number == 2


def test_a_newcomer_next_to_a_tracked_face_gets_another_id() -> None:
    followed = tracker()
    known = face(300, 300, SIDE)
    followed.update([known], 0.0)
    newcomer, moved = face(360, 300, SIDE), face(304, 300, SIDE)
    assert followed.update([newcomer, moved], 0.1) == [2, 1]


def test_an_id_is_never_reused() -> None:
    followed = tracker(expiry_s=0.5)
    seen = [followed.update([face(300, 300, SIDE)], float(second))[0] for second in range(5)]
    assert seen == [1, 2, 3, 4, 5]


def test_a_face_out_of_sight_keeps_its_id_and_its_predicted_path() -> None:
    followed = tracker(expiry_s=2.0)
    for index in range(10):
        followed.update([face(300 + 10 * index, 300, SIDE)], index / 10)
    followed.update([], 1.2)
    assert followed.ids == {1}
    (box,) = followed.predict(1.2).values()
    assert 400 < box.center[0] < 430
    assert followed.predict(9.0) == {}


@settings(deadline=None)
@given(st.permutations(range(4)))
def test_the_order_of_the_faces_does_not_matter(order: list[int]) -> None:
    followed = tracker()
    faces = [face(100 + 200 * place, 300, SIDE) for place in range(4)]
    followed.update(faces, 0.0)
    moved = [face(110 + 200 * place, 300, SIDE) for place in range(4)]
    assert followed.update([moved[place] for place in order], 0.1) == [place + 1 for place in order]


def test_two_frames_at_the_same_time_are_accepted() -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], 1.0)
    (number,) = followed.update([face(310, 300, SIDE)], 1.0)
    assert number == 1
    (number,) = followed.update([face(310, 300, SIDE)], 1.1)
    assert number == 1


@pytest.mark.parametrize(("keep_ids", "expected"), [(False, 1), (True, 2)])
def test_after_reset_ids_start_at_one_or_continue(keep_ids: bool, expected: int) -> None:
    followed = tracker()
    followed.update([face(300, 300, SIDE)], 0.0)
    followed.reset(keep_ids=keep_ids)
    (number,) = followed.update([face(300, 300, SIDE)], 0.1)
    assert number == expected
