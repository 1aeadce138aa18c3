"""Who of those in view has a place among the people who agreed."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from appliance.values import Box, Consent
from appliance.vision.tracking.consent_slots import KEPT_S, STEADY_S, Places

SIZE = 1000, 500


def box(x: float, side: float = 100.0, y: float = 250.0) -> Box:
    return Box(x - side / 2, y - side / 2, side, side)


class Room:
    """Frames ten times a second."""

    def __init__(self, people: int, seat: Box | None = None) -> None:
        self.places = Places(Consent(people, seat))
        self.now = 0.0

    def see(self, faces: Mapping[int, Box], seconds: float = 0.1, known: tuple[int, ...] = ()) -> set[int]:
        found: frozenset[int] = frozenset()
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            found = self.places.take(faces, frozenset(faces) | set(known), SIZE, self.now)
        return set(found)


def test_never_more_than_agreed_the_largest_first() -> None:
    room = Room(2)
    faces = {1: box(100, 60), 2: box(400, 120), 3: box(800, 90)}
    assert room.see(faces, 1.0) == {2, 3}


def test_nobody_is_read_before_they_were_there_steadily() -> None:
    room = Room(1)
    assert room.see({1: box(300)}, STEADY_S - 0.1) == set()
    assert room.see({1: box(300)}, 0.3) == {1}


def test_a_place_that_nobody_had_yet_waits_for_whoever_comes() -> None:
    room = Room(2)
    assert room.see({1: box(300)}, 60.0) == {1}
    assert room.see({1: box(300), 2: box(700)}, 1.0) == {1, 2}


def test_whoever_has_a_place_keeps_it_however_large_others_grow() -> None:
    room = Room(1)
    assert room.see({1: box(300, 80)}, 1.0) == {1}
    assert room.see({1: box(300, 80), 2: box(700, 300)}, 20.0) == {1}


def test_out_of_sight_for_a_moment_nobody_takes_the_place() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700)}, 1.0)
    assert room.see({2: box(700)}, 1.5, known=(1,)) == set()
    assert room.see({1: box(310), 2: box(700)}) == {1}


def test_lost_by_the_tracker_and_back_where_they_were() -> None:
    room = Room(1)
    assert room.see({1: box(300), 2: box(700, 60)}, 1.0) == {1}
    assert room.see({2: box(700, 60)}, KEPT_S - 1) == set(), "kept for whoever comes back"
    assert room.see({2: box(700, 60), 5: box(340)}) == {5}


def test_however_long_a_bystander_stays_the_place_of_who_left_is_not_theirs() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700, 60)}, 1.0)
    assert room.see({2: box(700, 60)}, 20 * KEPT_S) == set()
    assert room.see({2: box(300), 3: box(600)}, 20 * KEPT_S) == set()


def test_who_was_away_for_long_is_read_again_when_the_operator_says_so() -> None:
    room = Room(1)
    room.see({1: box(300)}, 1.0)
    room.see({}, KEPT_S + 1)
    assert room.see({5: box(300)}, 3.0) == set()
    room.places = Places(Consent(1, confirmations=1))
    assert room.see({5: box(300)}, 1.0) == {5}


def test_after_the_camera_was_away_for_long_nobody_is_taken_for_who_sat_there() -> None:
    room = Room(1)
    room.see({1: box(300)}, 1.0)
    room.now += 60
    assert room.see({2: box(300)}, 3.0) == set()


def test_a_bystander_in_view_all_the_while_is_not_who_comes_back() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700)}, 1.0)
    assert room.see({2: box(700)}, 1.0, known=(1,)) == set()
    assert room.see({2: box(320)}, 3.0) == set(), "they lean over where the other one was"
    assert room.see({2: box(320), 6: box(290)}) == {6}


def test_one_of_two_left_and_the_other_goes_on() -> None:
    room = Room(2)
    assert room.see({1: box(200), 2: box(700)}, 1.0) == {1, 2}
    assert room.see({2: box(700), 3: box(450, 250)}, KEPT_S + 5) == {2}


def test_a_face_of_another_size_is_not_who_was_there() -> None:
    room = Room(1)
    room.see({1: box(300, 100)}, 1.0)
    assert room.see({7: box(300, 30)}, 2.0) == set()


def test_only_faces_in_the_seat() -> None:
    room = Room(2, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(200, 60), 2: box(800, 200)}, 3.0) == {1}


def test_leaning_out_a_little_is_fine_and_leaving_ends_it() -> None:
    room = Room(1, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(480)}, 1.0) == {1}
    assert room.see({1: box(560)}) == {1}
    assert room.see({1: box(600)}) == set()
    assert room.see({1: box(480)}) == {1}, "back where they were"


def test_whoever_never_had_a_place_gets_none_by_leaning_in() -> None:
    room = Room(1, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(560)}, 3.0) == set()


FACES = st.dictionaries(
    st.integers(1, 6),
    st.builds(box, st.floats(0, 1000), st.floats(10, 400), st.floats(0, 500)),
    max_size=6,
)


@given(
    people=st.integers(1, 4), seat=st.sampled_from([None, Box(0.2, 0.2, 0.4, 0.6)]), frames=st.lists(FACES)
)
def test_whatever_is_seen_no_more_than_agreed_and_only_who_is_in_view(
    people: int, seat: Box | None, frames: list[dict[int, Box]]
) -> None:
    room = Room(people, seat)
    for faces in frames:
        found = room.see(faces, 0.4)
        assert len(found) <= people
        assert found <= set(faces)


def test_until_somebody_confirms_nobody_has_a_place() -> None:
    places = Places(Consent(1, unconfirmed=True))
    for tenth in range(100):
        assert places.take({1: Box(10, 10, 50, 50)}, frozenset({1}), (200, 200), tenth / 10) == frozenset()
