"""What the store keeps, as values: sessions, seconds, markers; and which values a row of the file may have.

Never pictures, never anything that could identify a person. Rows of a backup or of a damaged file may break
the rules.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from appliance.records.store.ages import MAX_ELAPSED_S
from appliance.values import EMOTIONS

REASONS = ("small", "turned", "blurred", "dark", "bright", "covered")
"""Reasons why a face was not readable, in the order of the columns."""


@dataclass(frozen=True)
class Second:
    """One person in one second: means over its frames. Seconds count from the start of recording.

    `frames`: frames in which the person was seen; `scored`: how many of them are in the seven means;
    `skipped`: camera frames that were not analysed; then unreadable frames by reason. Box in pixels, angles
    in degrees, None if unknown; `head` in face widths a second, `body` 0 to 1. `nods` and `shakes`: completed
    within the second.
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
        """The mean of each expression, in the order of `EMOTIONS`; None if no frame was readable."""
        if self.scored == 0:
            return None
        return {name: float(getattr(self, name)) for name in EMOTIONS}

    @property
    def unreadable(self) -> dict[str, int]:
        """The number of frames for each reason that occurred."""
        return {name: getattr(self, name) for name in REASONS if getattr(self, name)}


COLUMNS = tuple(field.name for field in fields(Second))
"""The columns of `seconds` except the session, in the order of the fields of `Second`."""


@dataclass(frozen=True)
class Marker:
    """A note of the operator, at seconds since the start of recording."""

    at: float
    text: str


@dataclass(frozen=True)
class SessionSummary:
    """One session without its rows. Times are Unix seconds; `ended` is None while it is recorded.

    `recorded`: when recording began; `started`: when people agreed; `clock_set`: False if the clock of the
    device was never set, so that its dates mean nothing. `ending`: how it ended, "" while it runs. `expires`:
    the approximate time of automatic erasure, None while it is recorded. `people`: how many agreed;
    `persons`: how many were seen.
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
class PersonTotals:
    """One person over the entire session. Nothing here combines the seven expressions into one number."""

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
class TimelinePiece:
    """One person within some seconds; `means` is None if nothing was readable."""

    start: int
    length: int
    means: dict[str, float] | None
    frames: int
    scored: int


ID = re.compile(r"[0-9a-f]{12}")
"""The format of a session's id."""

LATEST_S = 2.0**33
"""Unix seconds in the year 2242: the latest date, which every calendar can show."""

LONGEST_SESSION_S = 10_000_000
"""A session has fewer seconds than this."""

_LARGEST = 1e9
_SHOWN = 40


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and ID.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.encode("utf-8", "ignore").decode() == value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_second(value: Any) -> bool:
    return type(value) is int and 0 <= value < LONGEST_SESSION_S


def is_number(value: Any) -> bool:
    """Whether a value is a finite number of a plausible size."""
    return type(value) in (int, float) and abs(value) <= _LARGEST


def is_time(value: Any) -> bool:
    """Whether a value is a date in Unix seconds that a calendar can show."""
    return type(value) in (int, float) and 0 <= value <= LATEST_S


def _is_age(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= MAX_ELAPSED_S


def _or_null(rule: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or rule(value)


_NULLABLE = {*EMOTIONS, "yaw", "pitch", "roll", "head", "body"}
_COUNTS = {"person", "frames", "scored", "skipped", "nods", "shakes", *REASONS}


def _rule(column: str) -> Callable[[Any], bool]:
    if column == "second":
        return _is_second
    if column in _COUNTS:
        return _is_count
    return _or_null(is_number) if column in _NULLABLE else is_number


RULES: Mapping[str, Mapping[str, Callable[[Any], bool]]] = {
    "sessions": {
        "id": _is_id,
        "started": is_time,
        "recorded": is_time,
        "ended": _or_null(is_time),
        "ending": _is_text,
        "clock_set": _is_count,
        "began_lived": _is_age,
        "ended_lived": _or_null(_is_age),
        "people": _is_count,
        **dict.fromkeys(("notice_version", "notice_hash", "source", "link_hash", "label", "note"), _is_text),
    },
    "seconds": {"session": _is_id, **{name: _rule(name) for name in COLUMNS}},
    "markers": {"session": _is_id, "at": is_number, "text": _is_text},
}
"""Table -> column -> whether a value fits."""


def row_fault(table: str, row: Mapping[str, Any]) -> str:
    """Why a row breaks the rules, in words; "" if it does not."""
    if table not in RULES:
        return f"unknown table {_shown(table)}"
    for name, fits in RULES[table].items():
        if name not in row:
            return f"a row of {table} has no {name}"
        if not fits(row[name]):
            return f"a row of {table} has {name} = {_shown(row[name])}"
    if table == "seconds" and row["scored"] and any(row[name] is None for name in EMOTIONS):
        return "a row of seconds counts frames but has no means"
    if table == "sessions" and (row["ended"] is None) != (row["ended_lived"] is None):
        return "a row of sessions has only one of ended and ended_lived"
    return ""


def _shown(value: Any) -> str:
    words = ascii(value)
    return words if len(words) <= _SHOWN else f"{words[:_SHOWN]}…"


def _sql(column: str) -> str:
    if column == "second":
        return f"typeof(second) = 'integer' AND second >= 0 AND second < {LONGEST_SESSION_S}"
    if column in _COUNTS:
        return f"typeof({column}) = 'integer' AND {column} BETWEEN 0 AND {_LARGEST:.0f}"
    fits = f"(typeof({column}) = 'real' AND abs({column}) <= {_LARGEST:.0f})"
    return f"({column} IS NULL OR {fits})" if column in _NULLABLE else fits


_HAS_MEANS = " AND ".join(f"{name} IS NOT NULL" for name in EMOTIONS)
FITTING_SECOND = f"{' AND '.join(map(_sql, COLUMNS))} AND (scored = 0 OR {_HAS_MEANS})"
"""The rules of `seconds` as a condition in SQL."""
