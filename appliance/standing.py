"""What is the case in a session at one moment, and how a sitting begins."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from appliance.notice import Notice
from appliance.values import Agreed, Sitting

IDLE, AIMING, LIVE, RECORDING = "idle", "aiming", "live", "recording"

AIM_S = 60.0
"""The longest time for which the camera may be aimed, in seconds."""

_LINK_BYTES, _ID_BYTES = 16, 6


@dataclass(frozen=True)
class Standing:
    """One moment of a session.

    `number`: of the agreement or the aiming under which the camera is open, 0 while idle. `since`: monotonic
    seconds of its beginning. `agreed`: what bounds the analysis, None where nobody living is seen. `token`
    is that of the person's one-time link; only its hash is ever written down.
    """

    state: str = IDLE
    number: int = 0
    since: float = 0.0
    agreed: Agreed | None = None
    sitting: Sitting | None = None
    token: str = ""


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
