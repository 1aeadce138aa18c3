"""The state of a session and its readers, none of whom waits for a disk; `session.py` changes it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from appliance.errors import StateConflict
from appliance.standing import AIMING, LIVE, AimTime, Standing, new_sitting
from appliance.terms import Terms
from appliance.values import Agreed, Box, Sitting


class SessionState:
    """What is the case in a session now."""

    def __init__(
        self,
        terms: Terms,
        *,
        needs_agreement: bool,
        source: str,
        clock: Callable[[], float],
        longest_s: float,
    ) -> None:
        """For `Session`, which says what these are."""
        self.terms, self.needs_agreement = terms, needs_agreement
        self._source, self._clock, self._longest_s = source, clock, longest_s
        self._aim_time = AimTime()
        self._changed = threading.Condition()
        """Guards the state; nobody waits for a disk who holds it."""
        self._given = 0
        self._standing = Standing() if needs_agreement else self._begun(0, None, self._sitting(0))

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
