"""The recorder: sums by person and second, on a real store."""

from __future__ import annotations

import time as real_time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance.errors import StoreError
from appliance.health import Health
from appliance.records import Second, Store
from appliance.sinks.recorder import Recorder
from appliance.values import NOT_ANALYSED, NOT_READABLE, ExpressionResult, Movement, Person, Pose, Reading
from tests.fakes.parts import face, frame, person, reading, scores
from tests.fakes.records import ID, OTHER, Time, make_store, session_info

HAPPY, SAD = scores(happy=1), scores(sad=1)


@dataclass
class Session:
    """What the recorder knows about the session."""

    state: str = "live"
    id: str | None = None
    agreement: int = 1


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(real_time, "monotonic", lambda: made.up)
    return made


@pytest.fixture
def store(tmp_path: Path, clock: Time) -> Iterator[Store]:
    made = make_store(tmp_path / "state", clock)
    yield made
    made.close()


@pytest.fixture
def recorder(store: Store, session: Session) -> Recorder:
    return Recorder(store, session, Health("usb"))


def recording(store: Store, session: Session, id: str = ID) -> None:
    store.begin(session_info(id))
    session.state, session.id = "recording", id


def at(clock: Time, *people: Person, skipped: int = 0) -> Reading:
    return reading(frame(1, clock.up), *people, skipped=skipped)


def unreadable(number: int, reason: str, label: str = NOT_READABLE) -> Person:
    return Person(number, face(50, 50, 20), ExpressionResult(None, reason), None, label)


def rows(store: Store, id: str = ID) -> list[Second]:
    session = store.session(id)
    return [] if session is None else list(session.seconds)


def test_while_live_nothing_is_written(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    recorder.idle()
    recorder.close()
    assert not store.path.parent.exists()


def test_the_health_gets_the_state_of_the_records(tmp_path: Path, clock: Time, session: Session) -> None:
    free = 100.0
    store = make_store(tmp_path / "small", clock, free_mb=lambda path: free)
    health = Health("usb")
    recorder = Recorder(store, session, health)
    with pytest.raises(StoreError):
        store.begin(session_info())
    recorder.idle()
    assert health.store_state == "full"
    free = 1e6
    clock.passes(61)
    recorder.take(at(clock))
    assert health.store_state == "ok"
    store.close()


def test_means_of_a_second_with_their_counts(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    one = person(1, face(50, 60, 20), HAPPY)
    posed = replace(
        one,
        expression=ExpressionResult(HAPPY, None, Pose(10.0, -4.0, 2.0)),
        movement=Movement(0.5, None, 1, 0),
    )
    moved = replace(
        person(1, face(70, 60, 20), SAD),
        expression=ExpressionResult(SAD, None, Pose(20.0, -2.0, 0.0)),
        movement=Movement(0.1, 0.3, 2, 1),
    )
    recorder.take(at(clock, posed, skipped=3))
    clock.passes(0.4)
    recorder.take(at(clock, moved, skipped=1))
    clock.passes(0.4)
    recorder.take(at(clock, unreadable(1, "turned")))
    clock.passes(0.4)
    recorder.take(at(clock))
    [row] = rows(store)
    assert (row.person, row.second, row.frames, row.scored, row.skipped) == (1, 0, 3, 2, 4)
    assert (row.happy, row.sad, row.neutral) == (0.5, 0.5, 0.0)
    assert row.unreadable == {"turned": 1}
    assert (row.yaw, row.pitch, row.roll) == (15.0, -3.0, 1.0)
    assert row.head == pytest.approx(0.3)
    assert (row.body, row.nods, row.shakes) == (0.3, 2, 1)
    assert row.x == pytest.approx((40 + 60 + 40) / 3)


def test_an_unreadable_second_has_counts_and_no_means(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    recorder.take(at(clock, unreadable(1, "dark")))
    recorder.close()
    [row] = rows(store)
    assert (row.means, row.frames, row.scored, row.dark) == (None, 1, 0, 1)


def test_people_without_consent_are_not_recorded(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY), unreadable(2, "not_agreed", NOT_ANALYSED)))
    recorder.close()
    assert [row.person for row in rows(store)] == [1]


def test_two_people_and_their_seconds(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    for _ in range(6):
        recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY), person(2, face(90, 50, 20), SAD)))
        clock.passes(0.5)
    recorder.close()
    assert [(row.person, row.second, row.frames) for row in rows(store)] == [
        (number, second, 2) for number in (1, 2) for second in range(3)
    ]


def test_a_gap_flushes_finished_seconds_but_waits_for_late_frames(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    clock.passes(1.5)
    recorder.idle()
    assert rows(store) == []
    late = reading(frame(2, clock.up - 0.7), person(1, face(50, 50, 20), HAPPY))
    recorder.take(late)
    clock.passes(1.0)
    recorder.idle()
    assert [row.frames for row in rows(store)] == [2]


def test_a_frame_from_before_the_recording_does_not_count(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    before = at(clock, person(1, face(50, 50, 20), HAPPY))
    clock.passes(0.2)
    recording(store, session)
    recorder.take(before)
    recorder.close()
    assert rows(store) == []


def test_the_end_closes_the_second_and_the_next_session_begins_empty(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    clock.passes(1.2)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    store.end(ID)
    session.state, session.id = "live", None
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    recording(store, session, OTHER)
    recorder.take(at(clock, person(1, face(50, 50, 20), SAD)))
    recorder.close()
    assert [(row.second, row.happy) for row in rows(store)] == [(0, 1.0)]
    assert [(row.second, row.sad) for row in rows(store, OTHER)] == [(0, 1.0)]


def test_an_erased_session_gets_no_more_seconds(
    recorder: Recorder, session: Session, clock: Time, store: Store
) -> None:
    recording(store, session)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    store.erase(ID)
    clock.passes(1.2)
    recorder.take(at(clock, person(1, face(50, 50, 20), HAPPY)))
    recorder.close()
    assert store.sessions() == []


def test_it_maintains_the_store(recorder: Recorder, session: Session, clock: Time, store: Store) -> None:
    recording(store, session)
    store.end(ID)
    session.state, session.id = "idle", None
    for _ in range(7 * 24 + 2):
        clock.passes(3600)
        recorder.idle()
    assert store.sessions() == []
