"""What the store keeps, as values: sessions, seconds, markers. Never pictures, never what could identify."""

from __future__ import annotations

from dataclasses import dataclass, fields

from appliance.values import EMOTIONS

REASONS = ("small", "turned", "blurred", "dark", "bright", "covered")
"""Why a face was not readable, in the order of the columns."""


@dataclass(frozen=True)
class Second:
    """One person in one second: means over its frames. Seconds count from where recording began.

    `frames`: in which the person was seen; `scored`: how many of these are behind the seven means;
    `skipped`: frames of the camera that were never looked at; then not readable frames by reason. Box in
    pixels, angles in degrees, None where there was none; `head` in face widths a second, `body` 0 to 1.
    `nods` and `shakes`: completed within the second.
    """

    person: int
    second: int
    angry: float | None = None
    disgusted: float | None = None
    fear: float | None = None
    happy: float | None = None
    sad: float | None = None
    surprised: float | None = None
    neutral: float | None = None
    frames: int = 0
    scored: int = 0
    skipped: int = 0
    small: int = 0
    turned: int = 0
    blurred: int = 0
    dark: int = 0
    bright: int = 0
    covered: int = 0
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    head: float | None = None
    body: float | None = None
    nods: int = 0
    shakes: int = 0

    @property
    def means(self) -> dict[str, float] | None:
        """Expression to mean, in the order of `EMOTIONS`; None when no frame was readable."""
        if self.scored == 0:
            return None
        return {name: float(getattr(self, name)) for name in EMOTIONS}

    @property
    def unreadable(self) -> dict[str, int]:
        """Reason to number of frames, only those that occurred."""
        return {name: getattr(self, name) for name in REASONS if getattr(self, name)}


COLUMNS = tuple(field.name for field in fields(Second))
"""The columns of a second, in the order of its values."""


@dataclass(frozen=True)
class Marker:
    """A word of the operator's at a moment, in seconds since recording began."""

    at: float
    text: str


@dataclass(frozen=True)
class Kept:
    """One session as it is kept. Times are Unix seconds; `ended` is None while it is recorded.

    `recorded` is when recording began, `started` when people agreed; `clock_set` is False when the clock of
    the device was never set, so that its dates mean nothing. `ending`: how it ended, "" while it runs.
    `expires`: about when it is erased by itself, None while it is recorded. `people` agreed,
    `persons` were seen.
    """

    id: str
    started: float
    recorded: float
    ended: float | None
    ending: str
    clock_set: bool
    expires: float | None
    people: int
    persons: int
    seconds: int
    notice_version: str
    notice_hash: str
    source: str
    label: str
    note: str


@dataclass(frozen=True)
class Figures:
    """One person over the whole session. Nothing here sums the seven up into one number."""

    person: int
    seconds: int
    frames: int
    scored: int
    skipped: int
    unreadable: dict[str, int]
    means: dict[str, float] | None
    nods: int
    shakes: int


@dataclass(frozen=True)
class Piece:
    """What was read of one person within some seconds; `means` is None when nothing was readable."""

    start: int
    length: int
    means: dict[str, float] | None
    frames: int
    scored: int
