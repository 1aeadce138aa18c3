"""Which faces in view have a consent slot."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from appliance.values import Box, Consent
from appliance.vision.tracking.consent_slots import KEPT_S, STEADY_S, ConsentSlots

SIZE = 1000, 500


def box(x: float, side: float = 100.0, y: float = 250.0) -> Box:
    return Box(x - side / 2, y - side / 2, side, side)


class Room:
    """Frames ten times a second."""

    def __init__(self, people: int, zone: Box | None = None) -> None:
        self.slots = ConsentSlots(Consent(people, zone))
        self.now = 0.0

    def see(self, faces: Mapping[int, Box], seconds: float = 0.1, known: tuple[int, ...] = ()) -> set[int]:
        found: frozenset[int] = frozenset()
        for _ in range(max(1, round(seconds * 10))):
            self.now += 0.1
            found = self.slots.assign(faces, frozenset(faces) | set(known), SIZE, self.now)
        return set(found)


def test_slots_go_to_the_largest_faces_first() -> None:
    room = Room(2)
    faces = {1: box(100, 60), 2: box(400, 120), 3: box(800, 90)}
    assert room.see(faces, 1.0) == {2, 3}


def test_a_newcomer_must_be_steady_before_getting_a_slot() -> None:
    room = Room(1)
    assert room.see({1: box(300)}, STEADY_S - 0.1) == set()
    assert room.see({1: box(300)}, 0.3) == {1}


def test_an_unused_slot_waits_for_the_first_face() -> None:
    room = Room(2)
    assert room.see({1: box(300)}, 60.0) == {1}
    assert room.see({1: box(300), 2: box(700)}, 1.0) == {1, 2}


def test_a_holder_keeps_the_slot_when_others_grow_larger() -> None:
    room = Room(1)
    assert room.see({1: box(300, 80)}, 1.0) == {1}
    assert room.see({1: box(300, 80), 2: box(700, 300)}, 20.0) == {1}


def test_a_short_absence_does_not_free_the_slot() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700)}, 1.0)
    assert room.see({2: box(700)}, 1.5, known=(1,)) == set()
    assert room.see({1: box(310), 2: box(700)}) == {1}


def test_a_new_track_near_the_vacant_slot_reclaims_it() -> None:
    room = Room(1)
    assert room.see({1: box(300), 2: box(700, 60)}, 1.0) == {1}
    assert room.see({2: box(700, 60)}, KEPT_S - 1) == set(), "kept for the holder"
    assert room.see({2: box(700, 60), 5: box(340)}) == {5}


def test_a_bystander_never_gets_a_vacant_slot() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700, 60)}, 1.0)
    assert room.see({2: box(700, 60)}, 20 * KEPT_S) == set()
    assert room.see({2: box(300), 3: box(600)}, 20 * KEPT_S) == set()


def test_after_a_long_absence_the_operator_must_confirm() -> None:
    room = Room(1)
    room.see({1: box(300)}, 1.0)
    room.see({}, KEPT_S + 1)
    assert room.see({5: box(300)}, 3.0) == set()
    room.slots = ConsentSlots(Consent(1, confirmations=1))
    assert room.see({5: box(300)}, 1.0) == {5}


def test_a_long_camera_outage_frees_no_slot() -> None:
    room = Room(1)
    room.see({1: box(300)}, 1.0)
    room.now += 60
    assert room.see({2: box(300)}, 3.0) == set()


def test_a_bystander_in_view_does_not_reclaim_a_slot() -> None:
    room = Room(1)
    room.see({1: box(300), 2: box(700)}, 1.0)
    assert room.see({2: box(700)}, 1.0, known=(1,)) == set()
    assert room.see({2: box(320)}, 3.0) == set(), "a bystander leans over to the other's place"
    assert room.see({2: box(320), 6: box(290)}) == {6}


def test_one_of_two_leaves_and_the_other_continues() -> None:
    room = Room(2)
    assert room.see({1: box(200), 2: box(700)}, 1.0) == {1, 2}
    assert room.see({2: box(700), 3: box(450, 250)}, KEPT_S + 5) == {2}


def test_a_face_of_another_size_does_not_reclaim_a_slot() -> None:
    room = Room(1)
    room.see({1: box(300, 100)}, 1.0)
    assert room.see({7: box(300, 30)}, 2.0) == set()


def test_only_faces_in_the_zone_get_slots() -> None:
    room = Room(2, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(200, 60), 2: box(800, 200)}, 3.0) == {1}


def test_leaning_out_of_the_zone_keeps_the_slot_and_leaving_loses_it() -> None:
    room = Room(1, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(480)}, 1.0) == {1}
    assert room.see({1: box(560)}) == {1}
    assert room.see({1: box(600)}) == set()
    assert room.see({1: box(480)}) == {1}, "back in their place"


def test_leaning_into_the_zone_gives_no_slot() -> None:
    room = Room(1, Box(0.0, 0.0, 0.5, 1.0))
    assert room.see({1: box(560)}, 3.0) == set()


FACES = st.dictionaries(
    st.integers(1, 6),
    st.builds(box, st.floats(0, 1000), st.floats(10, 400), st.floats(0, 500)),
    max_size=6,
)


@given(
    people=st.integers(1, 4), zone=st.sampled_from([None, Box(0.2, 0.2, 0.4, 0.6)]), frames=st.lists(FACES)
)
def test_never_more_faces_than_slots_and_only_faces_in_view(
    people: int, zone: Box | None, frames: list[dict[int, Box]]
) -> None:
    room = Room(people, zone)
    for faces in frames:
        found = room.see(faces, 0.4)
        assert len(found) <= people
        assert found <= set(faces)


def test_without_confirmed_consent_there_are_no_slots() -> None:
    places = ConsentSlots(Consent(1, unconfirmed=True))
    for tenth in range(100):
        assert places.assign({1: Box(10, 10, 50, 50)}, frozenset({1}), (200, 200), tenth / 10) == frozenset()
