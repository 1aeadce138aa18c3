"""Edge cases of sessions: what ended a moment ago, and the last second of the preview."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from appliance.audit import AuditLog
from appliance.consent.session import PREVIEW_S, PreviewBudget
from appliance.errors import StateConflict
from tests.fakes.consent import MemoryRecords, make_session


def test_a_video_has_no_consent() -> None:
    session = make_session(needs_consent=False)
    assert session.snapshot.info is not None
    assert (session.snapshot.info.people, session.snapshot.consent) == (0, None)


def test_a_consent_that_expired_before_stop_ended_automatically(tmp_path: Path) -> None:
    """Stop comes before the timer has checked: the recording ends, and the log names the timer."""
    now, records, audit = [1000.0], MemoryRecords(), AuditLog(tmp_path)
    session = make_session(records=records, audit=audit, clock=lambda: now[0], longest_s=60.0)
    session.start("1", "operator")
    session.start_recording("", "", "operator")
    id = str(session.id)
    now[0] += 61.0
    session.stop("operator")
    assert records.ended == [id]
    stops = [(entry["who"], entry["session"]) for entry in audit.entries() if entry["event"] == "stop"]
    assert stops == [("timer", id)]


@pytest.mark.parametrize(("used_s", "left_s"), [(PREVIEW_S - 1.0, 1.0), (PREVIEW_S - 0.5, None)])
def test_the_last_full_second_of_preview_is_still_granted(used_s: float, left_s: float | None) -> None:
    aim = PreviewBudget()
    assert aim.begin(1000.0) == PREVIEW_S
    aim.spend(used_s)
    if left_s is None:
        with pytest.raises(StateConflict, match="the preview has reached its limit"):
            aim.begin(1001.0)
    else:
        assert aim.begin(1001.0) == left_s


def test_the_preview_budget_renews_after_five_minutes() -> None:
    aim = PreviewBudget()
    aim.begin(1000.0)
    aim.spend(PREVIEW_S)
    with pytest.raises(StateConflict, match="in 1 s"):
        aim.begin(1299.0)
    assert aim.begin(1300.0) == PREVIEW_S


def test_closing_ends_a_recorded_video_in_good_order() -> None:
    records = MemoryRecords()
    session = make_session(needs_consent=False, records=records)
    session.start_recording("", "", "operator")
    id = str(session.id)
    session.close()
    assert records.ended == [id]


def test_a_waiting_thread_is_woken_by_a_consent() -> None:
    session, woken = make_session(), threading.Event()
    waiting = threading.Thread(target=lambda: session.wait_until_open(30.0) and woken.set(), daemon=True)
    waiting.start()
    assert not woken.wait(0.2), "no consent yet"
    session.start("1", "operator")
    assert woken.wait(10.0)
