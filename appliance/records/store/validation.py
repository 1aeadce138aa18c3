"""Which values a row of the records may have. Rows of a backup or of a damaged file need not keep to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from appliance.records.store.clocks import LONGEST_LIVED_S
from appliance.records.store.rows import COLUMNS, REASONS
from appliance.values import EMOTIONS

ID = re.compile(r"[0-9a-f]{12}")
"""What an id looks like."""

LATEST_S = 2.0**33
"""Unix seconds in the year 2242: no date is later, and every calendar can show it."""

LONGEST_SESSION_S = 10_000_000
"""No session has a second of this number or a higher one."""

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
    """Whether it is a finite number of a size that occurs."""
    return type(value) in (int, float) and abs(value) <= _LARGEST


def is_time(value: Any) -> bool:
    """Whether it is a date in Unix seconds that a calendar can show."""
    return type(value) in (int, float) and 0 <= value <= LATEST_S


def _is_age(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) <= LONGEST_LIVED_S


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
"""Table to column to whether a value fits."""


def fault(table: str, row: Mapping[str, Any]) -> str:
    """Why a row does not fit, in words; "" when it does."""
    if table not in RULES:
        return f"a table {_shown(table)} is not known"
    for name, fits in RULES[table].items():
        if name not in row:
            return f"a row of {table} has no {name}"
        if not fits(row[name]):
            return f"a row of {table} has {name} = {_shown(row[name])}"
    if table == "seconds" and row["scored"] and any(row[name] is None for name in EMOTIONS):
        return "a row of seconds has no means of the frames that it counts"
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
