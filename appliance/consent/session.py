"""The session state: idle, aiming, live or recording. It decides whether the camera may be open at all.

Page, button, API and timer all go through here. Every transition is in the audit log with who made it; what
lets something begin is written there first, and what cannot be written does not begin. Ending never waits for
the disk: the state changes at once, and what is to be written about it follows in the background, in order.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from appliance.audit import AuditLog
from appliance.consent.diary import Diary
from appliance.consent.state import (
    AIMING,
    IDLE,
    LIVE,
    RECORDING,
    AimTime,
    Standing,
    digest,
    new_sitting,
    since_boot,
)
from appliance.consent.terms import Terms
from appliance.errors import StateConflict, StoreError
from appliance.ports import Records
from appliance.system.background import BackgroundWriter
from appliance.values import Agreed, Box, Sitting

log = logging.getLogger("appliance.session")

LONGEST_GAP_S = 60.0
"""After a gap of more seconds, asleep or stopped, people must confirm who is in view."""

ANSWER_S = 2.0
"""The longest wait of the answer to Stop for its end to be written, so that the next request finds it."""


class Session:
    """Idle until people have agreed to the notice; a source that shows nobody living starts live.

    Every agreement, and every aiming, has a number, 1 and rising; 0 means that the camera is closed. Frames
    carry the number under which they were taken, so that none survives the end of its agreement anywhere on
    its way, and none that was taken for aiming is ever read.
    """

    def __init__(
        self,
        terms: Terms,
        *,
        needs_agreement: bool,
        source: str = "",
        records: Records | None = None,
        audit: AuditLog | None = None,
        clock: Callable[[], float] = since_boot,
        longest_s: float = math.inf,
    ) -> None:
        """`source`: the camera's name, for the records. Without `records` nothing can be recorded.

        After `longest_s` seconds an agreement ends by itself.
        """
        self._records, self._writer = records, BackgroundWriter()
        self._diary = Diary(audit, self._writer)
        self._turn = threading.RLock()
        """Held by whatever begins, also while it waits for the disk. Never taken by what ends."""
        self._ends = self._record_ends = 0
        self.terms, self.needs_agreement = terms, needs_agreement
        self._source, self._clock, self._longest_s = source, clock, longest_s
        self._ran_at = clock()
        self._aim_time = AimTime()
        self._changed = threading.Condition()
        """Guards the state; held only for a moment, never while the disk works."""
        self._given = 0
        self._standing = Standing() if needs_agreement else self._begun(0, None, self._sitting(0))

    # --- the state: reading it never waits for the disk ---

    @property
    def now(self) -> Standing:
        """Everything at once, so that state, number and bounds belong together."""
        standing = self._standing
        return Standing() if self._is_over(standing) else standing

    @property
    def state(self) -> str:
        """`idle`, `aiming`, `live` or `recording`."""
        return self.now.state

    @property
    def agreement(self) -> int:
        """The number of the agreement in force, 0 while idle or aiming."""
        return self.now.number if self.now.sitting else 0

    @property
    def opening(self) -> int:
        """The number under which the camera may be open: of an agreement or of an aiming, 0 for none."""
        return self.now.number

    @property
    def id(self) -> str | None:
        """The id of the sitting, 12 hexadecimal digits; None while idle or aiming."""
        return self.now.id

    @property
    def live_s(self) -> float:
        """Seconds since the agreement or aiming in force, or the last one, began."""
        return self._clock() - self._standing.since

    @property
    def aiming_s(self) -> float | None:
        """Seconds that are left for aiming, None when nobody aims."""
        standing = self.now
        return None if standing.state != AIMING else standing.until - self._clock()

    def wait_live(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the camera may be open; says whether it may."""
        with self._changed:
            return self._changed.wait_for(lambda: self.opening > 0, timeout)

    # --- transitions ---

    def aim(self, who: str) -> None:
        """The camera opens for a blurred preview, for what `AimTime` has left; harmless while aiming."""
        with self._beginning() as begin:
            self._refuse_unlawful()
            self.tick()
            state = self.state
            if state in (LIVE, RECORDING):
                raise StateConflict(f"{state}: the camera is aimed before people agree; press Stop first")
            if state == IDLE:
                left = self._aim_time.begin(self._clock())
                self._diary.before("aiming", who, seconds=round(left))
                with begin():
                    self._given += 1
                    now = self._clock()
                    self._become(Standing(AIMING, self._given, now, now + left))

    def start(self, notice_version: str, who: str, people: int = 1, seat: Box | None = None) -> Standing:
        """So many people have read this version of the notice and agree; returns what is the case then.

        Raises `StateConflict` for another version, where the law or nobody has allowed it, and while live for
        another number of people. The same agreement once more goes on.
        """
        with self._beginning() as begin:
            self.tick()
            notice = self.terms.read(notice_version)
            self._refuse_unlawful()
            now = self.now
            if now.sitting:
                if self.needs_agreement and now.sitting.people != people:
                    raise StateConflict(
                        f"{people} people agree, but {now.sitting.people} did at the start; press Stop, and "
                        "start again with everybody who agrees"
                    )
                return now
            new = self._sitting(people)
            id = new[0].id
            self._diary.before(
                "agreement", who, session=id, people=people, version=notice.version, notice=notice.hash
            )
            self._diary.before("start", who, session=id)
            with begin(lambda: self._diary.after("stop", who, session=id, state=IDLE)):
                self._become(self._begun(people, seat, new))
                self._aim_time = AimTime()
                return self._standing

    def settle(self, region: str, purpose: str, who: str, institution: str = "") -> None:
        """Say where the device is, what for and who uses it; `StateConflict` while a session goes on."""
        with self._turn:
            if self.state != IDLE:
                raise StateConflict(f"{self.state}: people agreed on other terms; press Stop first")
            self.terms.refuse_if_fixed()
            self._diary.before("settings", who, region=region, purpose=purpose, institution=institution)
            self.terms.settle(region, purpose, institution)

    def seat(self, place: Box | None, who: str) -> None:
        """Another place, in shares of the picture, bounds the analysis; None for all of the picture."""
        with self._beginning() as begin:
            now = self._sitting_now("place")
            if now.agreed and now.agreed.seat != place:
                self._diary.before("settings", who, session=now.id, seat="drawn" if place else "none")
                with begin():
                    self._agree(seat=place)

    def again(self, who: str) -> None:
        """Those in view now are those who agreed: whoever was out of sight for long is read again."""
        with self._beginning() as begin:
            now = self._sitting_now("read again")
            if now.agreed:
                people, again = now.agreed.people, now.agreed.again + 1
                self._diary.before("agreement", who, session=now.id, people=people, again=again)
                with begin():
                    self._agree(again=again, unconfirmed=False)

    def check_gap(self) -> None:
        """Threads call it all the time; after a long gap in which none did, people must confirm.

        Called for each frame before it is judged, so that none from after a gap is analysed unconfirmed.
        """
        with self._changed:
            now = self._clock()
            gap_s, self._ran_at = now - self._ran_at, now
            if gap_s > LONGEST_GAP_S:
                self.require_confirmation(gap_s)

    def require_confirmation(self, gap_s: float) -> None:
        """After a sleep of `gap_s` seconds no one is analysed until the operator confirms, with `again`."""
        with self._changed:
            self._ends += 1  # a confirmation from before the gap, still being written, confirms nothing
            now = self.now
            if now.agreed and not now.agreed.unconfirmed:
                self._agree(unconfirmed=True)
                log.warning(
                    "the device did not run for %.0f s: "
                    "analysis waits until the operator confirms who is in view",
                    gap_s,
                )

    def record(self, label: str, note: str, who: str) -> None:
        """Numbers are recorded from now on; raises `StoreError`, and stays live, when they cannot be."""
        with self._beginning() as begin:
            now = self._sitting_now("record")
            if now.state == RECORDING:
                raise StateConflict("recording already; press Stop to end it")
            assert now.sitting
            records, sitting = self._kept(), replace(now.sitting, label=label, note=note)
            record_ends = self._record_ends
            self._writer.call("the record", lambda: records.begin(sitting))
            try:
                self._diary.before("record", who, session=sitting.id)
            except StoreError:
                self._end_record(sitting.id)
                raise

            def undo() -> None:
                self._end_record(sitting.id)
                self._diary.after("stop", who, session=sitting.id, recording=True)

            with begin(undo):
                if record_ends != self._record_ends:
                    undo()
                    raise StateConflict("the recording was ended meanwhile; press Record again")
                self._become(replace(self._standing, state=RECORDING, sitting=sitting))

    def stop_recording(self, who: str, id: str | None = None) -> None:
        """Recording ends and live goes on, as when the disk is full; harmless when nothing is recorded.

        `id`: only if it is this sitting that is recorded.
        """
        with self._changed:
            now = self.now
            if id not in (None, now.id):
                return
            self._record_ends += 1
            if now.state == RECORDING:
                self._become(replace(now, state=LIVE))
                self._end_record(str(now.id))
                self._diary.after("stop", who, session=now.id, recording=True)

    def marker(self, text: str) -> None:
        """Note `text` in the record at this moment; `StateConflict` unless recording."""
        now = self.now
        if now.state != RECORDING:
            raise StateConflict(f"{now.state}: a marker belongs to a recording; press Record first")
        self._kept().mark(str(now.id), text)

    def stop(self, who: str) -> None:
        """Whatever goes on ends here: the camera closes; harmless when idle. What begins now does not."""
        with self._changed:
            self.tick()
            self._end(self.now, who)
        self._writer.flush(ANSWER_S)

    def withdraw(self, who: str, id: str | None = None) -> None:
        """End the session in force and erase everything of it; or erase the one with this id.

        Raises `StateConflict` when none is in force and none was named, `StoreError` when it stays.
        """
        with self._changed:
            self.tick()
            now = self.now
            current = now.id
            if id is None and current is None:
                raise StateConflict(f"{now.state}: there is no session to withdraw from")
            if id in (None, current):
                self._ends += 1
                self._become(Standing(since=now.since))
        erased = id or str(current)
        with self._turn:  # what was about to be recorded has noticed
            self._writer.call("the withdrawal", lambda: self._erase(erased, who))

    def tick(self) -> None:
        """Once a second: what ends by itself, an aiming or an agreement that nobody ended, ends."""
        with self._changed:
            if self._is_over(self._standing):
                self._end(self._standing, "timer")
            self.check_gap()
        self._writer.start()

    def close(self) -> None:
        """The appliance stops: a recording ends in good order. May be called twice."""
        if self.needs_agreement or self.state == RECORDING:
            self.stop("shell")

    def flush(self, limit_s: float) -> list[str]:
        """Wait up to `limit_s` seconds until all that ended is written; returns what is not."""
        return self._writer.flush(limit_s)

    def find_link(self, token: str) -> str | None:
        """The id of the sitting whose one-time link this is, the one in force or a recorded one."""
        hash = digest(token)
        sitting = self.now.sitting
        if sitting and secrets.compare_digest(sitting.link_hash, hash):
            return sitting.id
        return self._records.find_link(hash) if self._records is not None else None

    @contextmanager
    def _beginning(self) -> Iterator[Callable[..., AbstractContextManager[None]]]:
        """One beginning at a time. What it gives is entered to change the state, after all is written.

        A Stop, and a gap in which the device slept, win: then it raises `StateConflict` and calls `undo`.
        """
        self.tick()  # an end that is due anyway must not stop this beginning
        ends = self._ends

        @contextmanager
        def begin(undo: Callable[[], None] = lambda: None) -> Iterator[None]:
            with self._changed:
                if ends != self._ends:
                    undo()
                    raise StateConflict(
                        "Stop was pressed, or the device slept, meanwhile: nothing begins; press again"
                    )
                yield

        with self._turn:
            yield begin

    def _end(self, standing: Standing, who: str) -> None:
        if (standing.state, who) != (AIMING, "timer"):  # the end of aiming is no Stop for a Start under way
            self._ends += 1
        self._become(Standing(since=standing.since))
        if standing.state == RECORDING:
            self._end_record(str(standing.id))
        if standing.state != IDLE:
            self._diary.after("stop", who, session=standing.id, state=standing.state)

    def _erase(self, id: str, who: str) -> None:
        erased = False
        try:
            if self._records is not None:
                self._records.erase(id)
            erased = True
        finally:
            self._diary.now("withdraw", who, session=id, erased=erased)

    def _refuse_unlawful(self) -> None:
        if self.needs_agreement and self.terms.refusal:
            raise StateConflict(self.terms.refusal)

    def _kept(self) -> Records:
        if self._records is None:
            raise StoreError("nothing can be recorded: this appliance was built without a store")
        return self._records

    def _end_record(self, id: str) -> None:
        records = self._kept()

        def end() -> None:
            try:
                records.end(id)
            except StoreError as error:
                log.error("%s", error)  # the session has ended all the same; the next start closes the record

        self._writer.submit("the end of the record", end)

    # --- pieces ---

    def _sitting(self, people: int) -> tuple[Sitting, str]:
        return new_sitting(people, self.terms.notice, self._source)

    def _begun(self, people: int, seat: Box | None, new: tuple[Sitting, str]) -> Standing:
        sitting, token = new
        self._given += 1
        if not self.needs_agreement:  # nobody living is seen: nothing bounds it, and nobody withdraws
            return Standing(LIVE, self._given, self._clock(), sitting=replace(sitting, link_hash=""))
        now, agreed = self._clock(), Agreed(people, seat)
        return Standing(LIVE, self._given, now, now + self._longest_s, agreed, sitting, token)

    def _agree(self, **changed: Any) -> None:
        now = self._standing
        if now.agreed:
            self._become(replace(now, agreed=replace(now.agreed, **changed)))

    def _become(self, standing: Standing) -> None:
        if self._standing.state == AIMING:
            self._aim_time.spend(min(self._clock(), self._standing.until) - self._standing.since)
        self._standing = standing
        self._changed.notify_all()

    def _is_over(self, standing: Standing) -> bool:
        return self._clock() >= standing.until

    def _sitting_now(self, wanted: str) -> Standing:
        now = self.now
        if now.sitting is None:
            raise StateConflict(f"{now.state}: there is nothing to {wanted}; press Start first")
        return now
