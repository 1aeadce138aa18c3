"""What is the case in a session at one moment, and how a sitting begins."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from dataclasses import dataclass

from appliance.consent.notice import Notice
from appliance.errors import StateConflict
from appliance.values import Agreed, Sitting

IDLE, AIMING, LIVE, RECORDING = "idle", "aiming", "live", "recording"

AIM_S = 60.0
"""The longest time for which the camera may be aimed, in seconds."""

AIM_EVERY_S = 300.0
"""In so many seconds, unless people agree meanwhile: pressing again gives no endless preview."""

_LINK_BYTES, _ID_BYTES = 16, 6


@dataclass(frozen=True)
class Standing:
    """One moment of a session.

    `number`: of the agreement or the aiming under which the camera is open, 0 while idle. `since`: monotonic
    seconds of its beginning; `until`: of its end, where it ends by itself. `agreed`: what bounds the
    analysis, None where nobody living is seen. `token` is that of the person's one-time link; only its hash
    is ever written down.
    """

    state: str = IDLE
    number: int = 0
    since: float = 0.0
    until: float = math.inf
    agreed: Agreed | None = None
    sitting: Sitting | None = None
    token: str = ""

    @property
    def id(self) -> str | None:
        """The id of the sitting, None while idle or aiming."""
        return self.sitting.id if self.sitting else None


class AimTime:
    """How long the camera may still be aimed: `AIM_S` within `AIM_EVERY_S`. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._began, self._used = -math.inf, 0.0

    def begin(self, now: float) -> float:
        """Seconds that an aiming may last which begins now; raises `StateConflict` when none are left."""
        if now - self._began >= AIM_EVERY_S:
            self._began, self._used = now, 0.0
        if AIM_S - self._used < 1.0:
            wait_s = self._began + AIM_EVERY_S - now
            raise StateConflict(
                f"the camera was aimed long enough: it may be again in {wait_s:.0f} s, or after people agreed"
            )
        return AIM_S - self._used

    def spend(self, seconds: float) -> None:
        """An aiming lasted so long."""
        self._used += seconds


def new_sitting(people: int, notice: Notice, source: str) -> tuple[Sitting, str]:
    """A sitting that begins now, and the token of its one-time link (128 bits)."""
    token = secrets.token_urlsafe(_LINK_BYTES)
    sitting = Sitting(
        id=secrets.token_hex(_ID_BYTES),
        started=time.time(),
        people=people,
        notice_version=notice.version,
        notice_hash=notice.hash,
        source=source,
        link_hash=digest(token),
    )
    return sitting, token


def digest(token: str) -> str:
    """The SHA-256 of a token, hexadecimal, whatever characters it has."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def since_boot() -> float:
    """Seconds since the machine was started, sleep included: a night's sleep ends an agreement too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
