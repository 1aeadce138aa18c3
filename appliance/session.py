"""The session state: idle, aiming, live or recording. It decides whether the camera may be open at all.

Page, button, API and timer all go through here. Every transition is in the audit log with who made it; what
lets something begin is written there first, and what cannot be written does not begin. Ending never waits for
the log.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from appliance.audit import AuditLog
from appliance.diary import Diary
from appliance.errors import StateConflict, StoreError
from appliance.ports import Records
from appliance.standing import AIMING, IDLE, LIVE, RECORDING, AimTime, Standing, digest, new_sitting
from appliance.terms import Terms
from appliance.values import Agreed, Box

log = logging.getLogger("appliance.session")


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
        clock: Callable[[], float] = time.monotonic,
        longest_s: float = math.inf,
    ) -> None:
        """`source`: the camera's name, for the records. Without `records` nothing can be recorded.

        After `longest_s` seconds an agreement ends by itself.
        """
        self.terms = terms
        self.needs_agreement = needs_agreement
        self._source, self._records, self._clock, self._longest_s = source, records, clock, longest_s
        self._diary, self._aim_time = Diary(audit), AimTime()
        self._changed = threading.Condition()
        self._given = 0
        self._standing = Standing() if needs_agreement else self._begun(0, None)

    # --- what is the case ---

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
        with self._changed:
            self._refuse_unlawful()
            self.tick()
            state, now = self.state, self._clock()
            if state in (LIVE, RECORDING):
                raise StateConflict(f"{state}: the camera is aimed before people agree; press Stop first")
            if state == IDLE:
                left = self._aim_time.begin(now)
                self._diary.before("aiming", who, seconds=round(left))
                self._given += 1
                self._become(Standing(AIMING, self._given, now, now + left))

    def start(self, notice_version: str, who: str, people: int = 1, seat: Box | None = None) -> Standing:
        """So many people have read this version of the notice and agree; returns what is the case then.

        Raises `StateConflict` for another version, where the law or nobody has allowed it, and while live for
        another number of people. The same agreement once more goes on.
        """
        with self._changed:
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
            begun = self._begun(people, seat)
            assert begun.sitting
            id = begun.sitting.id
            self._diary.before(
                "agreement", who, session=id, people=people, version=notice.version, notice=notice.hash
            )
            self._diary.before("start", who, session=id)
            self._become(begun)
            self._aim_time = AimTime()
            return begun

    def settle(self, region: str, purpose: str, who: str) -> None:
        """Say where the device stands and what it is used for; `StateConflict` while a session goes on."""
        with self._changed:
            if self.state != IDLE:
                raise StateConflict(f"{self.state}: people agreed on other terms; press Stop first")
            self.terms.refuse_if_fixed()
            self._diary.before("settings", who, region=region, purpose=purpose)
            self.terms.settle(region, purpose)

    def seat(self, place: Box | None, who: str) -> None:
        """Another place, in shares of the picture, bounds the analysis; None for all of the picture."""
        with self._changed:
            now = self._sitting_now("place")
            if now.agreed and now.agreed.seat != place:
                self._diary.before("settings", who, session=self.id, seat="drawn" if place else "none")
                self._become(replace(now, agreed=replace(now.agreed, seat=place)))

    def again(self, who: str) -> None:
        """Those in view now are those who agreed: whoever was out of sight for long is read again."""
        with self._changed:
            now = self._sitting_now("read again")
            if now.agreed:
                people, again = now.agreed.people, now.agreed.again + 1
                self._diary.before("agreement", who, session=self.id, people=people, again=again)
                self._become(replace(now, agreed=replace(now.agreed, again=again)))

    def record(self, label: str, note: str, who: str) -> None:
        """Numbers are recorded from now on; raises `StoreError`, and stays live, when they cannot be."""
        with self._changed:
            now = self._sitting_now("record")
            if now.state == RECORDING:
                raise StateConflict("recording already; press Stop to end it")
            assert now.sitting
            records, sitting = self._kept(), replace(now.sitting, label=label, note=note)
            records.begin(sitting)
            try:
                self._diary.before("record", who, session=sitting.id)
            except StoreError:
                records.end(sitting.id)
                raise
            self._become(replace(now, state=RECORDING, sitting=sitting))

    def stop_recording(self, who: str) -> None:
        """Recording ends and live goes on, as when the disk is full; harmless when nothing is recorded."""
        with self._changed:
            now = self.now
            if now.state == RECORDING:
                self._become(replace(now, state=LIVE))
                self._end_record(now)
                self._diary.after("stop", who, session=self.id, recording=True)

    def marker(self, text: str) -> None:
        """Note `text` in the record at this moment; `StateConflict` unless recording."""
        with self._changed:
            now = self.now
            if now.state != RECORDING:
                raise StateConflict(f"{now.state}: a marker belongs to a recording; press Record first")
            self._kept().mark(str(now.id), text)

    def stop(self, who: str) -> None:
        """Whatever goes on ends here: the camera closes; harmless when idle."""
        with self._changed:
            self.tick()
            self._end(self.now, who)

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
                self._become(Standing(since=now.since))
            id = id or current
            assert id
            erased = False
            try:
                if self._records is not None:
                    self._records.erase(id)
                erased = True
            finally:
                self._diary.after("withdraw", who, session=id, erased=erased)

    def tick(self) -> None:
        """Once a second: what ends by itself, an aiming or an agreement that nobody ended, ends."""
        with self._changed:
            if self._is_over(self._standing):
                self._end(self._standing, "timer")

    def close(self) -> None:
        """The appliance stops: a recording ends in good order. May be called twice."""
        if self.needs_agreement or self.state == RECORDING:
            self.stop("shell")

    def find_link(self, token: str) -> str | None:
        """The id of the sitting whose one-time link this is, the one in force or a recorded one."""
        hash = digest(token)
        sitting = self.now.sitting
        if sitting and secrets.compare_digest(sitting.link_hash, hash):
            return sitting.id
        return self._records.find_link(hash) if self._records is not None else None

    def _begun(self, people: int, seat: Box | None) -> Standing:
        sitting, token = new_sitting(people, self.terms.notice, self._source)
        self._given += 1
        if not self.needs_agreement:  # nobody living is seen: nothing bounds it, and nobody withdraws
            return Standing(LIVE, self._given, self._clock(), sitting=replace(sitting, link_hash=""))
        now, agreed = self._clock(), Agreed(people, seat)
        return Standing(LIVE, self._given, now, now + self._longest_s, agreed, sitting, token)

    def _end(self, standing: Standing, who: str) -> None:
        self._become(Standing(since=standing.since))
        self._end_record(standing)
        if standing.state != IDLE:
            self._diary.after("stop", who, session=standing.id, state=standing.state)

    def _become(self, standing: Standing) -> None:
        if self._standing.state == AIMING:
            self._aim_time.spend(min(self._clock(), self._standing.until) - self._standing.since)
        self._standing = standing
        self._changed.notify_all()

    def _is_over(self, standing: Standing) -> bool:
        return self._clock() >= standing.until

    def _refuse_unlawful(self) -> None:
        if self.needs_agreement and self.terms.refusal:
            raise StateConflict(self.terms.refusal)

    def _sitting_now(self, wanted: str) -> Standing:
        now = self.now
        if now.sitting is None:
            raise StateConflict(f"{now.state}: there is nothing to {wanted}; press Start first")
        return now

    def _kept(self) -> Records:
        if self._records is None:
            raise StoreError("nothing can be recorded: this appliance was built without a store")
        return self._records

    def _end_record(self, before: Standing) -> None:
        if before.state == RECORDING:
            try:
                self._kept().end(str(before.id))
            except StoreError as error:
                log.error("%s", error)  # the session has ended all the same; the next start closes the record
