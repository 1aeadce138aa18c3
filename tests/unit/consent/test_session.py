"""The session: no analysis without consent, and every transition is in the audit log."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from appliance.audit import AuditLog
from appliance.consent.session import PAUSE_S, PREVIEW_S, Session, digest
from appliance.errors import StateConflict, StoreError
from appliance.values import Box, Consent
from tests.fakes.consent import MemoryRecords, make_session, make_terms
from tests.fakes.parts import WITHIN_S, in_threads


class FakeAuditLog(AuditLog):
    """An audit log in memory; `full` refuses every line."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.details: list[dict[str, Any]] = []
        self.full = False

    def require(self, event: str, who: str, **details: Any) -> None:
        if self.full:
            raise StoreError("no space is left")
        self.events.append((event, who))
        self.details.append(details)


class Rig:
    """A session with fakes around it, and a clock that the test moves."""

    def __init__(self, **more: Any) -> None:
        self.now = 1000.0
        self._records, self._audit = MemoryRecords(), FakeAuditLog()
        self.session = make_session(
            "3", records=self._records, audit=self._audit, clock=lambda: self.now, source="usb", **more
        )

    @property
    def records(self) -> MemoryRecords:
        """After every end is written."""
        assert self.session.flush(WITHIN_S) == []
        return self._records

    @property
    def audit(self) -> FakeAuditLog:
        """After every end is written."""
        assert self.session.flush(WITHIN_S) == []
        return self._audit


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_camera_of_living_people_starts_idle() -> None:
    session = make_session("3", needs_consent=True)
    assert (session.state, session.consent_epoch, session.camera_epoch, session.id) == ("idle", 0, 0, None)


def test_a_video_starts_live_without_consent() -> None:
    session = make_session("3", needs_consent=False)
    assert (session.state, session.consent_epoch, session.snapshot.consent) == ("live", 1, None)
    assert session.snapshot.info and (session.snapshot.token, session.snapshot.info.link_hash) == ("", "")
    assert re.fullmatch("[0-9a-f]{12}", session.id or "")


@pytest.mark.parametrize("version", ["2", "", "3 "])
def test_another_version_of_the_notice_is_no_consent(version: str) -> None:
    session = make_session("3", needs_consent=True)
    with pytest.raises(StateConflict) as caught:
        session.start(version, "operator")
    assert repr(version) in str(caught.value) and "'3'" in str(caught.value)
    assert session.state == "idle"


def test_every_consent_has_its_own_epoch() -> None:
    session = make_session("3", needs_consent=True)
    numbers, ids = [], set()
    for _ in range(3):
        session.start("3", "operator")
        session.start("3", "operator")  # repeated while live: the same consent continues
        numbers.append(session.consent_epoch)
        ids.add(session.id)
        session.stop("operator")
        session.stop("operator")
        assert (session.state, session.consent_epoch, session.id) == ("idle", 0, None)
    assert numbers == [1, 2, 3]
    assert len(ids) == 3


def test_a_video_that_was_stopped_starts_a_new_epoch() -> None:
    session = make_session("3", needs_consent=False)
    session.stop("operator")
    session.start("3", "operator")
    assert session.consent_epoch == 2


def test_a_consent_wakes_the_waiting_thread() -> None:
    session = make_session("3", needs_consent=True)
    waiting = threading.Barrier(2)
    woken: list[bool] = []

    def wait() -> None:
        waiting.wait(WITHIN_S)
        woken.append(session.wait_until_open(60))

    def agree() -> None:
        waiting.wait(WITHIN_S)
        session.start("3", "operator")

    in_threads(wait, agree)
    assert woken == [True]


def test_waiting_times_out_without_a_consent() -> None:
    assert not make_session("3", needs_consent=True).wait_until_open(0.01)


def test_a_consent_is_in_the_audit_log(rig: Rig) -> None:
    rig.session.start("3", "button", 2, Box(0.1, 0.2, 0.3, 0.4))
    assert rig.session.snapshot.consent == Consent(2, Box(0.1, 0.2, 0.3, 0.4))
    assert rig.audit.events == [("agreement", "button"), ("start", "button")]
    entry = rig.audit.details[0]
    notice = rig.session.terms.notice
    assert entry == {"session": rig.session.id, "people": 2, "version": "3", "notice": notice.hash}


def test_more_people_need_a_new_start(rig: Rig) -> None:
    rig.session.start("3", "operator", 1)
    with pytest.raises(StateConflict, match="2 people agree, but 1 agreed"):
        rig.session.start("3", "operator", 2)
    assert rig.session.snapshot.consent == Consent(1)


def test_nothing_begins_without_its_audit_entry(rig: Rig) -> None:
    rig.audit.full = True
    for begin in (lambda: rig.session.start("3", "operator"), lambda: rig.session.start_preview("operator")):
        with pytest.raises(StoreError):
            begin()
        assert rig.session.state == "idle"
    rig.audit.full = False
    rig.session.start("3", "operator")
    rig.audit.full = True
    with pytest.raises(StoreError):
        rig.session.start_recording("", "", "operator")
    assert rig.session.state == "live"
    assert rig.records.ended == [rig.session.id]


def test_ends_never_wait_for_the_audit_log(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.audit.full = True
    rig.session.stop("operator")
    assert rig.session.state == "idle"


def test_reconfirming_is_audited_and_counted(rig: Rig) -> None:
    with pytest.raises(StateConflict, match="press Start"):
        rig.session.reconfirm("operator")
    rig.session.start("3", "operator", 2, Box(0.1, 0.2, 0.3, 0.4))
    rig.session.reconfirm("operator")
    rig.session.reconfirm("operator")
    assert rig.session.snapshot.consent == Consent(2, Box(0.1, 0.2, 0.3, 0.4), confirmations=2)
    assert rig.audit.events[2:] == [("agreement", "operator")] * 2
    assert rig.audit.details[-1] == {"session": rig.session.id, "people": 2, "again": 2}
    rig.audit.full = True
    with pytest.raises(StoreError):
        rig.session.reconfirm("operator")
    assert rig.session.snapshot.consent == Consent(2, Box(0.1, 0.2, 0.3, 0.4), confirmations=2)


def test_reconfirming_in_a_video_changes_nothing() -> None:
    session = make_session("3", needs_consent=False)
    session.reconfirm("operator")
    assert session.snapshot.consent is None


def test_baselines_are_taken_only_while_live(rig: Rig) -> None:
    with pytest.raises(StateConflict, match="press Start"):
        rig.session.take_baselines()
    rig.session.start("3", "operator")
    rig.session.take_baselines()
    rig.session.take_baselines()
    assert (rig.session.state, rig.session.snapshot.baselines) == ("live", 2)
    rig.session.stop("operator")
    rig.session.start("3", "operator")
    assert rig.session.snapshot.baselines == 0


# --- aiming ---


def test_the_preview_opens_the_camera_without_a_consent(rig: Rig) -> None:
    rig.session.start_preview("operator")
    assert (rig.session.state, rig.session.consent_epoch, rig.session.id) == ("aiming", 0, None)
    assert rig.session.camera_epoch == 1
    rig.session.start("3", "operator")
    assert (rig.session.state, rig.session.consent_epoch) == ("live", 2)  # frames of the aiming carry 1
    assert rig.audit.events == [("aiming", "operator"), ("agreement", "operator"), ("start", "operator")]


def test_the_preview_ends_automatically_and_cannot_be_prolonged(rig: Rig) -> None:
    rig.session.start_preview("operator")
    rig.now += PREVIEW_S - 1
    rig.session.start_preview("operator")
    rig.session.tick()
    assert (rig.session.state, rig.session.preview_left_s) == ("aiming", 1.0)
    rig.now += 1
    assert (rig.session.state, rig.session.camera_epoch, rig.session.preview_left_s) == ("idle", 0, None)
    rig.session.tick()
    rig.session.tick()
    assert rig.audit.events == [("aiming", "operator"), ("stop", "timer")]


def test_repeated_previews_share_one_budget(rig: Rig) -> None:
    rig.session.start_preview("operator")
    rig.now += 20
    rig.session.stop("operator")
    rig.now += 30
    rig.session.start_preview("operator")
    assert rig.session.preview_left_s == PREVIEW_S - 20
    assert rig.audit.details[-1] == {"seconds": PREVIEW_S - 20}
    rig.now += PREVIEW_S
    for _ in range(3):
        with pytest.raises(StateConflict, match="again in 190 s"):
            rig.session.start_preview("operator")
    assert rig.session.state == "idle"
    rig.now += 190
    rig.session.start_preview("operator")
    assert rig.session.preview_left_s == PREVIEW_S


def test_a_consent_renews_the_preview_budget(rig: Rig) -> None:
    rig.session.start_preview("operator")
    rig.now += PREVIEW_S
    rig.session.start("3", "operator")
    rig.session.stop("operator")
    rig.session.start_preview("operator")
    assert rig.session.preview_left_s == PREVIEW_S


def test_the_preview_is_refused_while_live(rig: Rig) -> None:
    rig.session.start("3", "operator")
    with pytest.raises(StateConflict, match="live"):
        rig.session.start_preview("operator")


def test_live_does_not_end_with_the_preview(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.now += 100 * PREVIEW_S
    rig.session.tick()
    assert rig.session.state == "live"


@pytest.mark.parametrize("ticked", [True, False])
@pytest.mark.parametrize("recorded", [True, False])
def test_a_consent_ends_automatically(ticked: bool, recorded: bool) -> None:
    rig = Rig(longest_s=3600.0)
    rig.session.start("3", "operator")
    id = rig.session.id
    if recorded:
        rig.session.start_recording("", "", "operator")
    rig.now += 3599
    rig.session.tick()
    assert rig.session.state == ("recording" if recorded else "live")
    rig.now += 1
    assert (rig.session.state, rig.session.consent_epoch, rig.session.id) == ("idle", 0, None)
    if ticked:
        rig.session.tick()
    rig.session.start("3", "operator")
    assert rig.session.consent_epoch == 2
    assert rig.records.ended == ([id] if recorded else [])
    assert ("stop", "timer") in rig.audit.events


def test_a_video_never_ends_automatically() -> None:
    rig = Rig(longest_s=3600.0, needs_consent=False)
    rig.now += 10 * 3600
    rig.session.tick()
    assert rig.session.state == "live"


# --- the law ---


@pytest.mark.parametrize(
    ("region", "purpose", "institution"),
    [
        *[("", "", ""), ("EU", "", ""), ("", "practice", "none"), ("EU", "hiring", "none")],
        *[("EU", "practice", ""), ("EU", "practice", "school"), ("EU", "coaching", "employer")],
    ],
)
def test_nothing_starts_where_the_law_forbids_it(region: str, purpose: str, institution: str) -> None:
    terms = make_terms("3", region=region, purpose=purpose, institution=institution)
    session = Session(terms, needs_consent=True)
    for begin in (lambda: session.start("3", "operator"), lambda: session.start_preview("operator")):
        with pytest.raises(StateConflict) as caught:
            begin()
        assert str(caught.value) == terms.refusal
    assert session.state == "idle"
    Session(terms, needs_consent=False).start("3", "operator")  # a video shows no living person


def test_the_jurisdiction_is_set_only_while_idle(rig: Rig) -> None:
    rig.session.start("3", "operator")
    with pytest.raises(StateConflict, match="end the session"):
        rig.session.set_jurisdiction("EU", "hiring", "operator")
    rig.session.stop("operator")
    rig.audit.full = True
    with pytest.raises(StoreError):
        rig.session.set_jurisdiction("EU", "hiring", "operator")
    rig.audit.full = False
    assert rig.session.terms.refusal == ""
    rig.session.set_jurisdiction("EU", "hiring", "operator")
    assert rig.audit.events[-1] == ("settings", "operator")
    with pytest.raises(StateConflict, match="Article 5"):
        rig.session.start(rig.session.terms.notice.version, "operator")


# --- recording ---


def test_a_recording_begins_takes_markers_and_ends_in_good_order(rig: Rig) -> None:
    rig.session.start("3", "operator", 2)
    id = rig.session.id
    assert id
    with pytest.raises(StateConflict):
        rig.session.add_marker("too early")
    rig.session.start_recording("morning", "a note", "operator")
    assert (rig.session.state, rig.session.id, rig.session.consent_epoch) == ("recording", id, 1)
    info = rig.records.kept[id]
    assert (info.people, info.label, info.note, info.source) == (2, "morning", "a note", "usb")
    assert info.notice_hash == rig.session.terms.notice.hash
    with pytest.raises(StateConflict, match="already"):
        rig.session.start_recording("", "", "operator")
    rig.session.add_marker("question 2")
    assert rig.records.marks == [(id, "question 2")]
    rig.session.stop("operator")
    assert rig.records.ended == [id]
    assert id in rig.records.kept


def test_without_disk_space_the_session_stays_live(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.records.full = True
    with pytest.raises(StoreError):
        rig.session.start_recording("", "", "operator")
    assert rig.session.state == "live"
    assert ("record", "operator") not in rig.audit.events


def test_a_full_disk_ends_the_recording_and_not_the_session(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    rig.session.stop_recording("timer")
    assert (rig.session.state, rig.records.ended) == ("live", [rig.session.id])
    rig.session.stop_recording("timer")
    assert len(rig.records.ended) == 1


def test_a_recording_can_end_and_begin_again_within_a_session(rig: Rig) -> None:
    rig.session.start("3", "operator")
    id = rig.session.id
    rig.session.start_recording("", "", "operator")
    rig.session.stop_recording("operator")
    assert (rig.session.state, rig.session.id, rig.records.ended) == ("live", id, [id])
    assert rig.audit.events[-1] == ("stop", "operator") and rig.audit.details[-1]["recording"]
    rig.session.start_recording("", "", "operator")
    assert (rig.session.state, rig.session.id) == ("recording", id)


@pytest.mark.parametrize("end", [Session.stop, Session.stop_recording])
def test_the_recording_that_ended_last_can_be_discarded(rig: Rig, end: Callable[..., None]) -> None:
    rig.session.start("3", "operator")
    with pytest.raises(StateConflict, match="nothing to discard"):
        rig.session.discard("operator")
    rig.session.start_recording("morning", "", "operator")
    id, token = rig.session.id, rig.session.snapshot.token
    with pytest.raises(StateConflict, match="press Stop recording first"):
        rig.session.discard("operator")
    assert id not in rig.records.erased
    end(rig.session, "operator")
    state = rig.session.state
    with pytest.raises(StateConflict, match="not the recording that ended last"):
        rig.session.discard("operator", "000000000000")
    assert rig.records.erased == []
    assert rig.session.discard("operator", id) == id
    assert rig.records.erased == [id] and ("erase", "operator") in rig.audit.events
    assert rig.session.state == state
    with pytest.raises(StateConflict, match="nothing to discard"):
        rig.session.discard("operator")
    if state == "live":  # the store takes no erased id again
        assert rig.session.id != id and rig.session.snapshot.token == token
        assert rig.session.find_link(token) == rig.session.id
        rig.session.start_recording("", "", "operator")
        assert list(rig.records.kept) == [rig.session.id]


def test_a_withdrawn_recording_cannot_be_discarded(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    rig.session.withdraw("operator")
    with pytest.raises(StateConflict, match="nothing to discard"):
        rig.session.discard("operator")


# --- pause ---


def test_a_pause_closes_the_camera_and_keeps_consent_and_recording(rig: Rig) -> None:
    rig.session.start("3", "operator", 2)
    rig.session.start_recording("", "", "operator")
    before = rig.session.snapshot
    rig.session.pause("operator")
    paused = rig.session.snapshot
    assert (paused.state, paused.camera_epoch, paused.consent_epoch) == ("paused", 0, 0)
    assert (paused.id, paused.consent, paused.token) == (before.id, before.consent, before.token)
    assert rig.session.pause_left_s == PAUSE_S
    assert rig.records.ended == []
    with pytest.raises(StateConflict, match="paused"):
        rig.session.add_marker("question 2")
    with pytest.raises(StateConflict, match="end the session first"):
        rig.session.start_preview("operator")
    with pytest.raises(StateConflict, match="resume first"):
        rig.session.take_baselines()
    rig.now += 60
    rig.session.pause("operator")
    assert rig.session.pause_left_s == PAUSE_S - 60, "a second press does not make it longer"
    rig.session.resume("operator")
    now = rig.session.snapshot
    assert (now.state, now.id, now.consent) == ("recording", before.id, before.consent)
    assert now.camera_epoch > before.camera_epoch and now.first_epoch == before.first_epoch
    assert (rig.session.pause_left_s, rig.session.length_s) == (None, 60.0)
    assert rig.audit.events[-2:] == [("pause", "operator"), ("resume", "operator")]
    rig.session.resume("operator")
    assert rig.session.camera_epoch == now.camera_epoch


def test_a_pause_that_is_too_long_ends_session_and_recording(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    id = rig.session.id
    rig.session.pause("operator")
    rig.now += PAUSE_S
    assert rig.session.state == "idle"
    with pytest.raises(StateConflict):
        rig.session.resume("operator")
    rig.session.tick()
    assert (rig.records.ended, rig.audit.events[-1]) == ([id], ("stop", "timer"))


def test_a_pause_does_not_make_a_consent_longer() -> None:
    rig = Rig(longest_s=900.0)
    rig.session.start("3", "operator")
    rig.now += 600.0
    rig.session.pause("operator")
    assert rig.session.pause_left_s == 300.0
    rig.now += 100.0
    rig.session.resume("operator")
    rig.now += 200.0
    assert rig.session.state == "idle"


def test_a_recording_can_end_during_a_pause(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    rig.session.pause("operator")
    rig.session.stop_recording("operator")
    assert (rig.session.state, rig.records.ended) == ("paused", [rig.session.id])
    with pytest.raises(StateConflict, match="press Resume"):
        rig.session.start_recording("", "", "operator")
    rig.session.resume("operator")
    assert rig.session.state == "live"


def test_a_pause_that_cannot_be_audited_happens_and_a_resumption_does_not(rig: Rig) -> None:
    with pytest.raises(StateConflict, match="press Start"):
        rig.session.pause("operator")
    rig.session.start("3", "operator")
    rig.audit.full = True
    rig.session.pause("operator")
    with pytest.raises(StoreError):
        rig.session.resume("operator")
    assert rig.session.state == "paused"


def test_a_pause_cancels_a_recording_that_is_about_to_begin(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.session.start("3", "operator")
    begin = rig.records.begin

    def pause_first(info: Any) -> None:
        begin(info)
        rig.session.pause("operator")

    monkeypatch.setattr(rig.records, "begin", pause_first)
    with pytest.raises(StateConflict, match="try again"):
        rig.session.start_recording("", "", "operator")
    assert (rig.session.state, rig.session.snapshot.has_recording) == ("paused", False)
    assert rig.records.ended == [rig.session.id]


def test_a_clip_without_people_can_pause_too() -> None:
    session = make_session("3", needs_consent=False)
    session.pause("operator")
    assert (session.state, session.camera_epoch) == ("paused", 0)
    session.resume("operator")
    assert (session.state, session.camera_epoch) == ("live", 2)


def test_without_a_store_nothing_is_recorded() -> None:
    session = make_session("3")
    session.start("3", "operator")
    with pytest.raises(StoreError, match="store"):
        session.start_recording("", "", "operator")


def test_closing_ends_a_recording_in_good_order(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    id = rig.session.id
    rig.session.close()
    rig.session.close()
    assert (rig.session.state, rig.records.ended) == ("idle", [id])


@pytest.mark.parametrize("state", ["idle", "aiming"])
def test_only_a_session_is_recorded(rig: Rig, state: str) -> None:
    if state == "aiming":
        rig.session.start_preview("operator")
    for act in (
        lambda: rig.session.start_recording("", "", "operator"),
        lambda: rig.session.add_marker("x"),
        lambda: rig.session.set_zone(None, "operator"),
        lambda: rig.session.withdraw("operator"),
    ):
        with pytest.raises(StateConflict, match=state):
            act()
    assert rig.session.state == state


def test_closing_ends_a_session_without_recording(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.close()
    assert (rig.session.state, rig.audit.events[-1]) == ("idle", ("stop", "shell"))


def test_closing_a_video_writes_no_entry() -> None:
    rig = Rig(needs_consent=False)
    rig.session.close()
    assert (rig.session.state, rig.audit.events) == ("live", [])


# --- withdrawing, and the personal link ---


@pytest.mark.parametrize("erased", [True, False])
def test_the_audit_log_says_whether_a_withdrawal_erased(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, erased: bool
) -> None:
    rig.session.start("3", "operator")
    id = rig.session.id

    def refuse(id: str) -> None:
        raise StoreError("the file may only be read")

    if not erased:
        monkeypatch.setattr(rig.records, "erase", refuse)
    with contextlib.nullcontext() if erased else pytest.raises(StoreError):
        rig.session.withdraw("link")
    assert rig.audit.details[-1] == {"session": id, "erased": erased}


def test_withdrawal_ends_the_session_and_erases_it(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    id = rig.session.id
    rig.session.withdraw("button")
    assert (rig.session.state, rig.records.kept, rig.records.erased) == ("idle", {}, [id])
    assert rig.audit.events[-1] == ("withdraw", "button")


def test_the_link_works_until_the_session_is_erased(rig: Rig) -> None:
    state = rig.session.start("3", "operator")
    id, token = rig.session.id, state.token
    assert len(token) >= 22 and state.info
    assert state.info.link_hash == digest(token)
    assert rig.session.find_link(token) == id
    rig.session.start_recording("", "", "operator")
    rig.session.stop("operator")
    assert rig.session.find_link(token) == id
    for wrong in ("", "x", token[:-1], token + "A", "\ud800", "é"):
        assert rig.session.find_link(wrong) is None
    rig.session.withdraw("link", id)
    assert rig.records.erased == [id]
    assert rig.session.find_link(token) is None


def test_the_link_of_an_older_session_does_not_end_the_current_one(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    old = rig.session.id
    rig.session.stop("operator")
    rig.session.start("3", "operator")
    rig.session.withdraw("link", old)
    assert rig.session.state == "live"
    assert rig.records.erased == [old]


def test_a_failed_erasure_raises_and_the_session_has_ended(rig: Rig) -> None:
    def fail(id: str) -> None:
        raise StoreError("the disk is gone")

    rig.session.start("3", "operator")
    rig.records.erase = fail  # type: ignore[method-assign]
    with pytest.raises(StoreError):
        rig.session.withdraw("operator")
    assert rig.session.state == "idle"
    assert rig.audit.details[-1]["erased"] is False


def test_a_real_audit_log_takes_every_event(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    session = make_session("3", records=MemoryRecords(), audit=log)
    session.start_preview("loopback")
    session.start("3", "loopback", 1)
    session.set_zone(Box(0.0, 0.0, 0.5, 0.5), "loopback")
    session.start_recording("", "", "loopback")
    session.stop_recording("timer")
    session.withdraw("link")
    events = [entry["event"] for entry in log.entries()]
    assert events == ["aiming", "agreement", "start", "settings", "record", "stop", "withdraw"]
    assert log.verify().fault == ""


# --- a slow disk ---


class SlowDisk:
    """Records and audit log on a disk that answers only while `answers` is set; `written` keeps the order."""

    def __init__(self) -> None:
        self.answers, self.asked = threading.Event(), threading.Semaphore(0)
        self.written: list[str] = []

    def require(self, event: str, who: str, **details: Any) -> None:
        self._write(event)

    def record(self, event: str, who: str, **details: Any) -> None:
        self._write(event)

    def begin(self, info: Any) -> None:
        self._write("begin")

    def end(self, id: str) -> None:
        self._write("end")

    def erase(self, id: str) -> None:
        self._write("erase")

    def _write(self, what: str) -> None:
        self.asked.release()
        assert self.answers.wait(WITHIN_S)
        self.written.append(what)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    monkeypatch.setattr("appliance.consent.session.ANSWER_S", 0.01)
    made = SlowDisk()
    made.answers.set()
    yield made
    made.answers.set()


def on(disk: SlowDisk, **more: Any) -> Session:
    return make_session("3", records=disk, audit=disk, **more)


def hangs(disk: SlowDisk) -> None:
    disk.answers.clear()
    while disk.asked.acquire(blocking=False):
        pass


def under_way(act: Callable[[], object], disk: SlowDisk) -> tuple[threading.Thread, list[Exception]]:
    """Run `act` in a thread until it waits for the disk; returns the thread and what it raises."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            act()
        except (StateConflict, StoreError) as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert disk.asked.acquire(timeout=WITHIN_S)
    return thread, raised


def test_stop_and_tick_do_not_wait_for_the_disk(disk: SlowDisk) -> None:
    session = on(disk)
    session.start("3", "operator")
    session.start_recording("", "", "operator")
    hangs(disk)
    session.stop("operator")
    session.tick()
    assert (session.state, session.camera_epoch, session.wait_until_open(0.0)) == ("idle", 0, False)
    assert session.flush(0.0) == ["the end of the record", "stop by operator"]
    assert "stop" not in disk.written
    disk.answers.set()
    assert session.flush(WITHIN_S) == []
    assert disk.written == ["agreement", "start", "begin", "record", "end", "stop"]


def test_only_the_beginning_waits_for_the_disk(disk: SlowDisk) -> None:
    session = on(disk)
    hangs(disk)
    thread, raised = under_way(lambda: session.start("3", "operator"), disk)
    session.tick()
    assert (session.state, session.camera_epoch, disk.written) == ("idle", 0, [])
    disk.answers.set()
    thread.join(WITHIN_S)
    assert (session.state, raised, disk.written) == ("live", [], ["agreement", "start"])


def test_stop_cancels_a_start_in_progress(disk: SlowDisk) -> None:
    session = on(disk)
    hangs(disk)
    thread, raised = under_way(lambda: session.start("3", "operator"), disk)
    session.stop("button")
    disk.answers.set()
    thread.join(WITHIN_S)
    assert session.flush(WITHIN_S) == []
    assert "Stop was pressed" in str(raised[0])
    assert (session.state, session.camera_epoch) == ("idle", 0)
    assert disk.written == ["agreement", "start", "stop"]


def test_a_sleep_cancels_a_start_in_progress(disk: SlowDisk) -> None:
    session = on(disk)
    hangs(disk)
    thread, raised = under_way(lambda: session.start("3", "operator"), disk)
    session.require_reconfirmation(3600.0)
    disk.answers.set()
    thread.join(WITHIN_S)
    assert session.flush(WITHIN_S) == []
    assert "slept" in str(raised[0]) and session.state == "idle"
    assert disk.written == ["agreement", "start", "stop"]


def test_a_confirmation_from_before_a_sleep_confirms_nothing(disk: SlowDisk) -> None:
    session = on(disk)
    session.start("3", "operator")
    hangs(disk)
    thread, raised = under_way(lambda: session.reconfirm("operator"), disk)
    session.require_reconfirmation(3600.0)
    disk.answers.set()
    thread.join(WITHIN_S)
    consent = session.snapshot.consent
    assert raised and consent is not None and consent.unconfirmed
    session.reconfirm("operator")
    consent = session.snapshot.consent
    assert consent is not None and not consent.unconfirmed


@pytest.mark.parametrize("end", [Session.stop, Session.withdraw])
def test_the_end_of_the_session_cancels_a_recording_in_progress(
    disk: SlowDisk, end: Callable[[Session, str], None]
) -> None:
    session = on(disk)
    session.start("3", "operator")
    hangs(disk)
    thread, raised = under_way(lambda: session.start_recording("", "", "operator"), disk)
    ending = threading.Thread(target=end, args=(session, "button"), daemon=True)
    ending.start()
    while session.state != "idle":
        ending.join(0.01)
    disk.answers.set()
    thread.join(WITHIN_S)
    ending.join(WITHIN_S)
    assert session.flush(WITHIN_S) == [] and len(raised) == 1
    assert session.state == "idle"
    assert disk.written.index("begin") < disk.written.index("end")
    if end is Session.withdraw:
        assert disk.written[-2:] == ["erase", "withdraw"]


def test_a_full_disk_cancels_a_recording_in_progress(disk: SlowDisk) -> None:
    session = on(disk)
    session.start("3", "operator")
    hangs(disk)
    thread, raised = under_way(lambda: session.start_recording("", "", "operator"), disk)
    session.stop_recording("timer", session.id)
    disk.answers.set()
    thread.join(WITHIN_S)
    assert session.flush(WITHIN_S) == []
    assert session.state == "live" and "ended in the meantime" in str(raised[0])
    assert disk.written[-2:] == ["end", "stop"], "what the log says began, ends there too"


def test_entries_of_the_next_session_follow_the_end_of_the_last(disk: SlowDisk) -> None:
    session = on(disk)
    session.start("3", "operator")
    hangs(disk)
    session.stop("operator")
    thread, _raised = under_way(lambda: session.start("3", "operator"), disk)
    disk.answers.set()
    thread.join(WITHIN_S)
    assert disk.written == ["agreement", "start", "stop", "agreement", "start"]


def test_a_full_disk_for_another_session_ends_nothing(rig: Rig) -> None:
    rig.session.start("3", "operator")
    rig.session.start_recording("", "", "operator")
    rig.session.stop_recording("timer", "000000000000")
    assert rig.session.state == "recording"


def test_without_a_thread_nothing_begins_and_ends_are_written_later(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.session.start("3", "operator")

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        patch.setattr("appliance.consent.session.ANSWER_S", 0.01)
        rig.session.stop("operator")
        with pytest.raises(StoreError, match="no thread"):
            rig.session.start("3", "operator")
    assert rig.session.state == "idle"
    rig.session.tick()
    assert rig.audit.events[2:] == [("stop", "operator")]


# --- a gap in which nothing ran ---


def test_after_a_long_sleep_no_one_is_analysed_until_reconfirmed(rig: Rig) -> None:
    rig.session.start("3", "operator", 2)
    rig.session.require_reconfirmation(61.0)
    assert rig.session.snapshot.consent == Consent(2, unconfirmed=True)
    rig.session.set_zone(Box(0.1, 0.2, 0.3, 0.4), "operator")
    assert rig.session.snapshot.consent == Consent(2, Box(0.1, 0.2, 0.3, 0.4), unconfirmed=True)
    rig.session.reconfirm("operator")
    assert rig.session.snapshot.consent == Consent(2, Box(0.1, 0.2, 0.3, 0.4), confirmations=1)


def test_a_gap_is_time_without_a_check(rig: Rig) -> None:
    rig.session.start("3", "operator")
    for _ in range(100):
        rig.now += 60.0
        rig.session.check_gap()
    assert rig.session.snapshot.consent == Consent(1)
    rig.now += 60.5
    rig.session.tick()
    assert rig.session.snapshot.consent == Consent(1, unconfirmed=True)
    rig.session.reconfirm("operator")
    rig.session.check_gap()
    assert rig.session.snapshot.consent == Consent(1, confirmations=1)


def test_a_consent_after_a_gap_needs_no_confirmation(rig: Rig) -> None:
    rig.now += 3600.0
    rig.session.start("3", "operator")
    rig.session.check_gap()
    assert rig.session.snapshot.consent == Consent(1)


def test_a_consent_that_ended_in_a_gap_needs_no_confirmation(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(longest_s=7200.0)
    rig.session.start("3", "operator")
    rig.now += 7200.0
    rig.session.check_gap()
    rig.session.tick()
    assert rig.session.state == "idle" and caplog.records == []


def test_a_gap_in_a_video_changes_nothing() -> None:
    session = make_session("3", needs_consent=False)
    session.require_reconfirmation(61.0)
    assert (session.state, session.snapshot.consent) == ("live", None)


# --- any sequence of calls ---


class AnySequence(RuleBasedStateMachine):
    """These invariants hold after any sequence of calls."""

    def __init__(self) -> None:
        super().__init__()
        self.rig = Rig()
        self.session = self.rig.session
        self.highest = 0
        self.ids: list[str] = []

    def _try(self, act: Callable[[], object]) -> None:
        with contextlib.suppress(StateConflict, StoreError):
            act()

    @rule(version=st.sampled_from(["3", "2"]), people=st.integers(1, 3))
    def start(self, version: str, people: int) -> None:
        self._try(lambda: self.session.start(version, "operator", people))

    @rule()
    def start_preview(self) -> None:
        self._try(lambda: self.session.start_preview("operator"))

    @rule()
    def stop(self) -> None:
        self.session.stop("button")
        assert self.session.state == "idle"

    @rule()
    def record(self) -> None:
        self._try(lambda: self.session.start_recording("", "", "operator"))

    @rule()
    def pause(self) -> None:
        self._try(lambda: self.session.pause("operator"))

    @rule()
    def resume(self) -> None:
        self._try(lambda: self.session.resume("operator"))

    @rule()
    def discard(self) -> None:
        self._try(lambda: self.session.discard("operator"))

    @rule()
    def full(self) -> None:
        self.session.stop_recording("timer")

    @rule()
    def mark(self) -> None:
        self._try(lambda: self.session.add_marker("x"))

    @rule(zone=st.sampled_from([None, Box(0.0, 0.0, 0.5, 1.0)]))
    def set_zone(self, zone: Box | None) -> None:
        self._try(lambda: self.session.set_zone(zone, "operator"))

    @rule()
    def withdraw(self) -> None:
        id = self.session.id
        self._try(lambda: self.session.withdraw("operator"))
        if id:
            assert self.session.state == "idle"
            assert id in self.rig.records.erased and id not in self.rig.records.kept

    @rule(seconds=st.sampled_from([0.5, 30.0, 61.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.now += seconds

    @rule()
    def tick(self) -> None:
        self.session.tick()

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        self.rig.records.full = full

    @precondition(lambda self: not self.rig.audit.full)
    @rule(full=st.booleans())
    def log_is_full(self, full: bool) -> None:
        self.rig.audit.full = full

    @precondition(lambda self: self.rig.audit.full)
    @rule()
    def log_has_room(self) -> None:
        self.rig.audit.full = False

    @invariant()
    def state_epoch_and_id_agree(self) -> None:
        now = self.session.snapshot
        assert now.state in ("idle", "aiming", "live", "recording", "paused")
        assert (now.camera_epoch == 0) is (now.state in ("idle", "paused"))
        assert (now.first_epoch == 0) is (now.state == "idle")
        assert bool(now.resumes_as) is (now.state == "paused")
        assert (now.info is None) is (now.state in ("idle", "aiming"))
        assert (self.session.consent_epoch == 0) is (now.state in ("idle", "aiming", "paused"))
        assert (now.consent is None) is (now.info is None)
        assert bool(now.token) is (now.info is not None)

    @invariant()
    def epochs_rise_and_ids_are_new(self) -> None:
        assert self.session.camera_epoch >= self.highest or self.session.camera_epoch == 0
        self.highest = max(self.highest, self.session.camera_epoch)
        id = self.session.id
        if id and id not in self.ids[-1:]:
            assert id not in self.ids
            self.ids.append(id)

    @invariant()
    def previews_are_short(self) -> None:
        left = self.session.preview_left_s
        assert left is None or 0 < left <= PREVIEW_S

    @invariant()
    def only_kept_sessions_are_recording(self) -> None:
        if self.session.state == "recording":
            assert self.session.id in self.rig.records.kept
            assert self.session.id not in self.rig.records.erased

    @invariant()
    def every_session_has_its_consent_in_the_log(self) -> None:
        consented = {entry.get("session") for entry in self.rig.audit.details if "version" in entry}
        assert self.session.id is None or self.session.id in consented


AnySequence.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestAnySequence = AnySequence.TestCase
