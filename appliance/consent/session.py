"""The session: idle, preview, live, recording or paused. It decides whether the camera may be open at all.

Page, button, API and timer all go through here. Every transition is in the audit log with the person who made
it. A beginning is written there first; if it cannot be written, it does not happen. An end never waits for
the disk: the state changes at once, and the writing about it follows in the background, in order.
"""

from __future__ import annotations

import hashlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from appliance.audit import AuditLog
from appliance.consent.notice import Notice
from appliance.consent.terms import Terms
from appliance.errors import StateConflict, StoreError
from appliance.ports import Records
from appliance.system.background import BackgroundWriter
from appliance.values import Box, Consent, SessionInfo

log = logging.getLogger("appliance.session")

IDLE, PREVIEW, LIVE, RECORDING, PAUSED = "idle", "aiming", "live", "recording", "paused"
"""The states, as `/api/state` and the audit log name them."""

PREVIEW_S = 60.0
"""The longest preview, in seconds."""

PREVIEW_EVERY_S = 300.0
"""`PREVIEW_S` is available once in this many seconds, unless people consent meanwhile: no endless preview."""

PAUSE_S = 600.0
"""The longest pause, in seconds; then the session ends."""

LONGEST_GAP_S = 60.0
"""After a longer gap in seconds, asleep or stopped, people must confirm who is in view."""

ANSWER_S = 2.0
"""How long the answer to Stop waits until the end is written, so that the next request finds it."""

_LINK_BYTES, _ID_BYTES = 16, 6


@dataclass(frozen=True)
class SessionState:
    """Immutable snapshot of the session state.

    `camera_epoch`: number of the consent or preview under which the camera is open, 0 while idle or paused.
    `first_epoch`: the first one of this session, the same after a pause. `since`: monotonic seconds from
    which this epoch or pause runs; `until`: of its automatic end; `began`: of the beginning of the session;
    `consent_until`: of the end of its consent. `consent`: the limits of the analysis, None where no living
    person is seen. `info`: None while idle or in the preview. `token`: secret of the personal link; only its
    hash is ever written. `resumes_as`: the state after the pause, "" unless paused. `baselines`: how often
    the operator asked to take the baselines of the people in view (`vision.expression.baseline`).
    """

    state: str = IDLE
    camera_epoch: int = 0
    since: float = 0.0
    until: float = math.inf
    first_epoch: int = 0
    began: float = 0.0
    consent_until: float = math.inf
    consent: Consent | None = None
    info: SessionInfo | None = None
    token: str = ""
    baselines: int = 0
    resumes_as: str = ""

    @property
    def has_recording(self) -> bool:
        """Whether a recording has begun and not ended; nothing is added to it during a pause."""
        return RECORDING in (self.state, self.resumes_as)

    @property
    def id(self) -> str | None:
        """The id of the session, None while idle or in the preview."""
        return self.info.id if self.info else None

    @property
    def consent_epoch(self) -> int:
        """Number of the consent in force, 0 while idle, paused or in the preview."""
        return self.camera_epoch if self.info else 0


def since_boot() -> float:
    """Seconds since the machine started, including sleep: a night's sleep also ends a consent."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class PreviewBudget:
    """The preview time left: `PREVIEW_S` within `PREVIEW_EVERY_S`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._began, self._used = -math.inf, 0.0

    def begin(self, now: float) -> float:
        """How many seconds a preview that begins now may last; raises `StateConflict` if none are left."""
        if now - self._began >= PREVIEW_EVERY_S:
            self._began, self._used = now, 0.0
        if PREVIEW_S - self._used < 1.0:
            wait_s = self._began + PREVIEW_EVERY_S - now
            raise StateConflict(
                f"the preview has reached its limit; try again in {wait_s:.0f} s, or after people have agreed"
            )
        return PREVIEW_S - self._used

    def spend(self, seconds: float) -> None:
        """Count the seconds of a preview that ended."""
        self._used += seconds


class Session:
    """Idle until people consent to the notice; a source that shows no living person starts live.

    Every consent and every preview has a number, its epoch, 1 and rising; 0 means that the camera is closed.
    Frames carry the epoch in which they were taken, so that no frame outlives its consent anywhere on its
    way, and no frame of a preview is ever analysed.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        needs_consent: bool,
        source: str = "",
        records: Records | None = None,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = since_boot,
        longest_s: float = math.inf,
    ) -> None:
        """`source`: the camera's name, for the records. Without `records` nothing can be recorded.

        A consent ends automatically after `longest_s` seconds.
        """
        self.terms, self.needs_consent = terms, needs_consent
        self._source, self._clock, self._longest_s = source, clock, longest_s
        self._records, self._audit, self._writer = records, audit, BackgroundWriter()
        self._beginnings = threading.RLock()
        """Held by a beginning, also while it waits for the disk. Ends never take it."""
        self._changed = threading.Condition()
        """Guards the state; held only for a moment, never while the disk works."""
        self._ends = self._recording_ends = 0
        self._saved: str | None = None
        """The id of the session whose recording ended last, until it is discarded."""
        self._ran_at = clock()
        self._preview_budget = PreviewBudget()
        self._last_epoch = 0
        self._snapshot = SessionState() if needs_consent else self._live_state(0, None, *self._new_info(0))

    # --- the state: reading it never waits for the disk ---

    @property
    def snapshot(self) -> SessionState:
        """Everything at one moment, so that state, epoch and limits belong together."""
        snapshot = self._snapshot
        return SessionState() if self._is_over(snapshot) else snapshot

    @property
    def state(self) -> str:
        """`idle`, `aiming`, `live`, `recording` or `paused`."""
        return self.snapshot.state

    @property
    def consent_epoch(self) -> int:
        """Number of the consent in force, 0 while idle, paused or in the preview."""
        return self.snapshot.consent_epoch

    @property
    def camera_epoch(self) -> int:
        """Number of the consent or preview under which the camera may be open, 0 for none."""
        return self.snapshot.camera_epoch

    @property
    def id(self) -> str | None:
        """The id of the session, 12 hexadecimal digits; None while idle or in the preview."""
        return self.snapshot.id

    @property
    def elapsed_s(self) -> float:
        """Seconds since the camera may be open, or since it must be closed."""
        return self._clock() - self._snapshot.since

    @property
    def length_s(self) -> float | None:
        """Seconds since the session began, pauses included; None while idle or in the preview."""
        snapshot = self.snapshot
        return None if snapshot.info is None else self._clock() - snapshot.began

    @property
    def pause_left_s(self) -> float | None:
        """Seconds left of the pause, None outside a pause."""
        snapshot = self.snapshot
        return None if snapshot.state != PAUSED else snapshot.until - self._clock()

    @property
    def preview_left_s(self) -> float | None:
        """Seconds left of the preview, None outside a preview."""
        snapshot = self.snapshot
        return None if snapshot.state != PREVIEW else snapshot.until - self._clock()

    def wait_until_open(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the camera may be open; returns whether it may."""
        with self._changed:
            return self._changed.wait_for(lambda: self.camera_epoch > 0, timeout)

    # --- transitions ---

    def start_preview(self, who: str) -> None:
        """Open the camera for a blurred preview, for what `PreviewBudget` has left; harmless during one.

        Raises `StateConflict` while live and if the law forbids the analysis.
        """
        with self._beginning() as commit:
            self._refuse_unlawful()
            self.tick()
            state = self.state
            if state not in (IDLE, PREVIEW):
                raise StateConflict(
                    f"{state}: the camera can be aimed only before people agree; end the session first"
                )
            if state == IDLE:
                left = self._preview_budget.begin(self._clock())
                self._require_entry("aiming", who, seconds=round(left))
                with commit():
                    self._last_epoch += 1
                    now = self._clock()
                    self._set(SessionState(PREVIEW, self._last_epoch, now, now + left, self._last_epoch))

    def start(self, notice_version: str, who: str, people: int = 1, zone: Box | None = None) -> SessionState:
        """Go live: `people` read this version of the notice and consent; returns the new state.

        `zone`: where they sit, in shares of the picture. Raises `StateConflict` for another version, if
        the law forbids the analysis or the jurisdiction is not set, and while live for another number of
        people. Repeating the same consent changes nothing.
        """
        with self._beginning() as commit:
            self.tick()
            notice = self.terms.require_current(notice_version)
            self._refuse_unlawful()
            now = self.snapshot
            if now.info:
                if self.needs_consent and now.info.people != people:
                    raise StateConflict(
                        f"{people} people agree, but {now.info.people} agreed at the start; end the session, "
                        "and start again with everyone who agrees"
                    )
                return now
            info, token = self._new_info(people)
            self._require_entry(
                "agreement", who, session=info.id, people=people, version=notice.version, notice=notice.hash
            )
            self._require_entry("start", who, session=info.id)
            with commit(lambda: self._record_entry("stop", who, session=info.id, state=IDLE)):
                self._set(self._live_state(people, zone, info, token))
                self._preview_budget = PreviewBudget()
                return self._snapshot

    def set_jurisdiction(self, region: str, purpose: str, who: str, institution: str = "") -> None:
        """Set region, purpose and institution; raises `StateConflict` while anyone is analysed."""
        with self._beginnings:
            if self.needs_consent and self.state != IDLE:
                raise StateConflict(
                    f"{self.state}: people agreed under the current terms; end the session first"
                )
            self.terms.refuse_if_fixed()
            self._require_entry("settings", who, region=region, purpose=purpose, institution=institution)
            self.terms.set_jurisdiction(region, purpose, institution)

    def set_zone(self, zone: Box | None, who: str) -> None:
        """Limit the analysis to a zone, in shares of the picture; None is the entire picture."""
        with self._beginning() as commit:
            now = self._require_live()
            if now.consent and now.consent.zone != zone:
                self._require_entry("settings", who, session=now.id, seat="drawn" if zone else "none")
                with commit():
                    self._change_consent(zone=zone)

    def reconfirm(self, who: str) -> None:
        """Confirm that the people in view are those who agreed: faces out of sight are analysed again."""
        with self._beginning() as commit:
            now = self._require_live()
            if now.consent:
                people, count = now.consent.people, now.consent.confirmations + 1
                self._require_entry("agreement", who, session=now.id, people=people, again=count)
                with commit():
                    self._change_consent(confirmations=count, unconfirmed=False)

    def take_baselines(self) -> None:
        """Have the baseline of everyone who is analysed taken; raises `StateConflict` unless live."""
        with self._changed:
            now = self._require_live()
            if now.state == PAUSED:
                raise StateConflict("paused: no one is in view; resume first")
            self._set(replace(now, baselines=now.baselines + 1))

    def check_gap(self) -> None:
        """Require a confirmation after a long gap in which no thread called this; threads call it often.

        Called for each frame before it is judged, so that no frame after a gap is analysed unconfirmed.
        """
        with self._changed:
            now = self._clock()
            gap_s, self._ran_at = now - self._ran_at, now
            if gap_s > LONGEST_GAP_S:
                self.require_reconfirmation(gap_s)

    def require_reconfirmation(self, gap_s: float) -> None:
        """After a sleep of `gap_s` seconds no one is analysed until the operator calls `reconfirm`."""
        with self._changed:
            self._ends += 1  # a confirmation from before the gap, still being written, confirms nothing
            now = self.snapshot
            if now.consent and not now.consent.unconfirmed:
                self._change_consent(unconfirmed=True)
                log.warning(
                    "the device did not run for %.0f s: "
                    "analysis waits until the operator confirms who is in view",
                    gap_s,
                )

    def pause(self, who: str) -> None:
        """Close the camera and keep consent and recording, for `PAUSE_S` at most; harmless while paused.

        Raises `StateConflict` without a session. Never waits for the disk.
        """
        with self._changed:
            self.tick()
            now = self._require_live()
            if now.state != PAUSED:
                self._ends += 1  # a beginning under way belongs to an open camera
                clock = self._clock()
                until = min(clock + PAUSE_S, now.consent_until)
                self._set(
                    replace(now, state=PAUSED, resumes_as=now.state, camera_epoch=0, since=clock, until=until)
                )
                self._record_entry("pause", who, session=now.id)

    def resume(self, who: str) -> None:
        """Open the camera again; the people who agreed are in view again, as at the start.

        Harmless while live. Raises `StateConflict` without a session and when the pause ends meanwhile.
        """
        with self._beginning() as commit:
            now = self._require_live()
            if now.state == PAUSED:
                self._require_entry("resume", who, session=now.id)
                with commit():
                    self._last_epoch += 1
                    now = self._snapshot
                    self._set(
                        replace(
                            now,
                            state=now.resumes_as,
                            resumes_as="",
                            camera_epoch=self._last_epoch,
                            since=self._clock(),
                            until=now.consent_until,
                            baselines=0,
                        )
                    )

    def start_recording(self, label: str, note: str, who: str) -> None:
        """Record numbers from now on; raises `StoreError`, and stays live, when that is impossible."""
        with self._beginning() as commit:
            now = self._require_live()
            if now.has_recording:
                raise StateConflict("already recording; press Stop recording first")
            if now.state == PAUSED:
                raise StateConflict("paused: press Resume first")
            assert now.info
            records, info = self._require_records(), replace(now.info, label=label, note=note)
            recording_ends = self._recording_ends
            self._writer.call("the record", lambda: records.begin(info))
            try:
                self._require_entry("record", who, session=info.id)
            except StoreError:
                self._end_record(info.id)
                raise

            def undo() -> None:
                self._end_record(info.id)
                self._record_entry("stop", who, session=info.id, recording=True)

            with commit(undo):
                if recording_ends != self._recording_ends:
                    undo()
                    raise StateConflict(
                        "the recording has ended in the meantime; press Start recording again"
                    )
                self._set(replace(self._snapshot, state=RECORDING, info=info))

    def stop_recording(self, who: str, id: str | None = None) -> None:
        """End the recording and keep the session, as when the disk is full; harmless when none runs.

        `id`: only if this session is recorded. Never waits for the disk: see `flush`.
        """
        with self._changed:
            now = self.snapshot
            if id not in (None, now.id):
                return
            self._recording_ends += 1
            if now.has_recording:
                paused = now.state == PAUSED
                self._set(replace(now, resumes_as=LIVE) if paused else replace(now, state=LIVE))
                self._end_record(str(now.id))
                self._record_entry("stop", who, session=now.id, recording=True)

    def add_marker(self, text: str) -> None:
        """Note `text` in the record at this moment; raises `StateConflict` unless recording."""
        now = self.snapshot
        if now.state != RECORDING:
            raise StateConflict(f"{now.state}: a marker needs a recording; press Start recording first")
        self._require_records().mark(str(now.id), text)

    def discard(self, who: str, id: str | None = None) -> str:
        """Erase the recording that ended last, and keep the session; returns the id of what was erased.

        `id`: only if it is this one. Raises `StateConflict` if it is not, while recording, and when there is
        none; `StoreError` when erasing fails. A session in force continues under a new id, so that it can be
        recorded again.
        """
        with self._beginnings:
            if self.snapshot.has_recording:
                raise StateConflict("recording: press Stop recording first, then Discard")
            discarded = self._saved
            if discarded is None:
                raise StateConflict("no recording has ended since the appliance started: nothing to discard")
            if id not in (None, discarded):
                raise StateConflict(
                    f"{id} is not the recording that ended last; erase it under Recorded sessions"
                )
            records = self._require_records()
            self._writer.call("the erasure", lambda: records.erase(discarded))
            self._record_entry("erase", who, session=discarded)
            with self._changed:
                self._saved, now = None, self.snapshot
                if now.info and now.id == discarded:
                    info = replace(now.info, id=secrets.token_hex(_ID_BYTES), label="", note="")
                    self._set(replace(now, info=info))
                    self._record_entry("start", who, session=info.id, continues=discarded)
            return discarded

    def stop(self, who: str) -> None:
        """End everything and close the camera; harmless when idle. A beginning under way is cancelled."""
        with self._changed:
            self.tick()
            self._end(self.snapshot, who)
        self._writer.flush(ANSWER_S)

    def withdraw(self, who: str, id: str | None = None) -> None:
        """End the session in force and erase all of its records; or erase the session with this id.

        Raises `StateConflict` without an id when no session is in force, `StoreError` when erasing fails.
        """
        with self._changed:
            self.tick()
            now = self.snapshot
            current = now.id
            if id is None and current is None:
                raise StateConflict(f"{now.state}: no session is in progress, so none can be withdrawn")
            if id in (None, current):
                self._ends += 1
                self._set(SessionState(since=now.since))
            if self._saved == (id or current):
                self._saved = None
        erased = id or str(current)
        with self._beginnings:  # a recording that was about to begin sees the end first
            self._writer.call("the withdrawal", lambda: self._erase(erased, who))

    def tick(self) -> None:
        """Once a second: end a preview or consent whose time is over."""
        with self._changed:
            if self._is_over(self._snapshot):
                self._end(self._snapshot, "timer")
            self.check_gap()
        self._writer.start()

    def close(self) -> None:
        """End a recording in good order when the appliance stops. May be called twice."""
        if self.needs_consent or self.snapshot.has_recording:
            self.stop("shell")

    def flush(self, limit_s: float) -> list[str]:
        """Wait up to `limit_s` seconds until everything is written; returns what is not."""
        return self._writer.flush(limit_s)

    def find_link(self, token: str) -> str | None:
        """The id of the session with this personal link, in force or recorded; None for an unknown one."""
        hash = digest(token)
        info = self.snapshot.info
        if info and secrets.compare_digest(info.link_hash, hash):
            return info.id
        return self._records.find_link(hash) if self._records is not None else None

    # --- beginning and ending ---

    @contextmanager
    def _beginning(self) -> Iterator[Callable[..., AbstractContextManager[None]]]:
        """One beginning at a time; gives `commit(undo)`, entered to change the state when all is written.

        A Stop, or a gap in which the device slept, wins: `commit` then calls `undo`, raises `StateConflict`.
        """
        self.tick()  # an end that is due must not cancel this beginning
        ends = self._ends

        @contextmanager
        def commit(undo: Callable[[], None] = lambda: None) -> Iterator[None]:
            with self._changed:
                if ends != self._ends:
                    undo()
                    raise StateConflict(
                        "not started: Stop was pressed or the device slept in the meantime; try again"
                    )
                yield

        with self._beginnings:
            yield commit

    def _end(self, ended: SessionState, who: str) -> None:
        if (ended.state, who) != (PREVIEW, "timer"):  # the end of a preview cancels no Start under way
            self._ends += 1
        self._set(SessionState(since=ended.since))
        if ended.has_recording:
            self._end_record(str(ended.id))
        if ended.state != IDLE:
            self._record_entry("stop", who, session=ended.id, state=ended.state)

    def _end_record(self, id: str) -> None:
        records, self._saved = self._require_records(), id

        def end() -> None:
            try:
                records.end(id)
            except StoreError as error:
                log.error("%s", error)  # the session has ended all the same; the next start closes the record

        self._writer.submit("the end of the record", end)

    def _erase(self, id: str, who: str) -> None:
        erased = False
        try:
            if self._records is not None:
                self._records.erase(id)
            erased = True
        finally:
            if self._audit is not None:
                self._audit.record("withdraw", who, session=id, erased=erased)

    def _require_entry(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write a beginning to the audit log, after all entries before it, and wait; raises `StoreError`."""
        if self._audit is not None:
            self._writer.call(f"{event} by {who}", partial(self._audit.require, event, who, **details))

    def _record_entry(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write an end to the audit log, after all entries before it, without waiting."""
        if self._audit is not None:
            self._writer.submit(f"{event} by {who}", partial(self._audit.record, event, who, **details))

    # --- conditions ---

    def _refuse_unlawful(self) -> None:
        if self.needs_consent:
            self.terms.refuse_unlawful()

    def _require_records(self) -> Records:
        if self._records is None:
            raise StoreError("recording is not available: this appliance was built without a store")
        return self._records

    def _require_live(self) -> SessionState:
        now = self.snapshot
        if now.info is None:
            raise StateConflict(f"{now.state}: no session is in progress; press Start first")
        return now

    def _is_over(self, snapshot: SessionState) -> bool:
        return self._clock() >= snapshot.until

    # --- making states ---

    def _new_info(self, people: int) -> tuple[SessionInfo, str]:
        return new_session_info(people, self.terms.notice, self._source)

    def _live_state(self, people: int, zone: Box | None, info: SessionInfo, token: str) -> SessionState:
        self._last_epoch += 1
        now = self._clock()
        consent: Consent | None
        if not self.needs_consent:  # no living person is seen: no time limit, and no one can withdraw
            until, consent, token, info = math.inf, None, "", replace(info, link_hash="")
        else:
            until, consent = now + self._longest_s, Consent(people, zone)
        return SessionState(
            LIVE,
            self._last_epoch,
            since=now,
            until=until,
            first_epoch=self._last_epoch,
            began=now,
            consent_until=until,
            consent=consent,
            info=info,
            token=token,
        )

    def _change_consent(self, **changed: Any) -> None:
        now = self._snapshot
        if now.consent:
            self._set(replace(now, consent=replace(now.consent, **changed)))

    def _set(self, snapshot: SessionState) -> None:
        if self._snapshot.state == PREVIEW:
            self._preview_budget.spend(min(self._clock(), self._snapshot.until) - self._snapshot.since)
        self._snapshot = snapshot
        self._changed.notify_all()


def new_session_info(people: int, notice: Notice, source: str) -> tuple[SessionInfo, str]:
    """A session that begins now, and the token of its personal link (128 bits)."""
    token = secrets.token_urlsafe(_LINK_BYTES)
    info = SessionInfo(
        id=secrets.token_hex(_ID_BYTES),
        started=time.time(),
        people=people,
        notice_version=notice.version,
        notice_hash=notice.hash,
        source=source,
        link_hash=digest(token),
    )
    return info, token


def digest(token: str) -> str:
    """The SHA-256 of a token, hexadecimal, whatever characters it has."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
