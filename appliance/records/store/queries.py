"""Reading the records: each call opens its own read-only connection and closes it.

A long session is read in batches, each with its own connection: an open reader keeps rows that were erased
meanwhile in the write-ahead log, so a slow client must not hold one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, StoreError
from appliance.records.store import database
from appliance.records.store.rows import (
    COLUMNS,
    FITTING_SECOND,
    LONGEST_SESSION_S,
    REASONS,
    Marker,
    PersonTotals,
    Second,
    SessionSummary,
    TimelinePiece,
    is_number,
    is_time,
)
from appliance.values import EMOTIONS

BATCH = 2000
"""Rows read at once: about 2 MB of memory."""

BATCH_PERSONS = 500
"""People whose totals are computed at once."""

_FIRST = -(2**63)  # the smallest integer of SQLite

_SUMMARY = (
    "SELECT sessions.*, (SELECT count(DISTINCT person) FROM seconds WHERE session = id) AS persons, "
    "coalesce((SELECT max(second) + 1 FROM seconds WHERE session = id AND typeof(second) = 'integer'"
    f" AND second < {LONGEST_SESSION_S}), 0) AS length FROM sessions"
)
_SECONDS = (
    f"SELECT {', '.join(COLUMNS)} FROM seconds "
    f"WHERE session = ? AND (person, second) > (?, ?) AND second < ? "
    f"AND {FITTING_SECOND} ORDER BY person, second LIMIT {BATCH}"
)
_WEIGHTED = ", ".join(f"total(scored * {name}) AS {name}" for name in EMOTIONS)
_SUMMED = ", ".join(f"sum({name}) AS {name}" for name in ("frames", "skipped", *REASONS, "nods", "shakes"))
_TOTALS = (
    f"SELECT person, count(*) AS seconds, sum(scored) AS scored, {_SUMMED}, {_WEIGHTED} FROM seconds "
    f"WHERE session = ? AND person > ? AND second < ? AND {FITTING_SECOND} "
    f"GROUP BY person ORDER BY person LIMIT {BATCH_PERSONS}"
)
_READINGS = (
    f"SELECT second, frames, scored, {', '.join(EMOTIONS)} FROM seconds "
    f"WHERE session = ? AND person = ? AND second < ? AND {FITTING_SECOND} ORDER BY second"
)


@dataclass(frozen=True)
class Now:
    """What ages are computed from: elapsed and Unix seconds now, and the seconds for which rows are kept."""

    elapsed: float
    wall: float
    keep_s: float


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection; errors of SQLite become `StoreError`."""
    try:
        with database.reading(path) as connection:
            yield connection
    except ApplianceError:
        raise
    except database.FAULTS as error:
        raise StoreError(f"{path}: cannot be read ({database.error_text(error)}); try again") from error


class Seconds:
    """The rows of one session, by person and second; read lazily.

    Reading raises `StoreError`, also if the session is erased meanwhile, so that a part of it never looks
    complete.
    """

    def __init__(self, path: Path, id: str, length: int) -> None:
        """`length`: the session's length in seconds; later rows, of a running recording, are left out."""
        self._path, self._id, self._length = path, id, length

    def __len__(self) -> int:
        query = f"SELECT count(*) FROM seconds WHERE session = ? AND second < ? AND {FITTING_SECOND}"
        return int(self._rows(query, self._length)[0][0])

    def __iter__(self) -> Iterator[Second]:
        person, second = _FIRST, _FIRST
        while rows := self._rows(_SECONDS, person, second, self._length):
            yield from (Second(*row) for row in rows)
            person, second = rows[-1]["person"], rows[-1]["second"]

    def totals(self) -> Iterator[PersonTotals]:
        """The totals of each person, in the order of their numbers."""
        person = _FIRST
        while rows := self._rows(_TOTALS, person, self._length):
            yield from map(_totals, rows)
            person = rows[-1]["person"]

    def pieces(self, person: int, step: int) -> list[TimelinePiece]:
        """One person's seconds in pieces of `step` seconds; means are weighted by frames."""
        rows = self._rows(_READINGS, person, self._length)
        return [
            _piece(number, step, list(group))
            for number, group in groupby(rows, lambda row: row["second"] // step)
        ]

    def _rows(self, query: str, *values: int) -> list[sqlite3.Row]:
        with reading(self._path) as connection:
            if connection.execute("SELECT 1 FROM sessions WHERE id = ?", (self._id,)).fetchone() is None:
                raise StoreError(f"session {self._id} was erased while it was read")
            return connection.execute(query, (self._id, *values)).fetchall()


@dataclass(frozen=True)
class SessionRecord:
    """A session and its markers; the rows are read lazily."""

    summary: SessionSummary
    seconds: Seconds
    markers: tuple[Marker, ...]


def sessions(path: Path, now: Now) -> list[SessionSummary]:
    """All sessions, the newest first. Raises `StoreError`."""
    with reading(path) as connection:
        rows = connection.execute(f"{_SUMMARY} ORDER BY began_lived DESC, id").fetchall()
    return [_summary(row, now) for row in rows]


def session(path: Path, id: str, now: Now) -> SessionRecord | None:
    """One session; None if it does not exist. Raises `StoreError`."""
    with reading(path) as connection:
        row = connection.execute(f"{_SUMMARY} WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        query = "SELECT at, text FROM markers WHERE session = ? AND typeof(at) = 'real' ORDER BY at, number"
        markers = tuple(Marker(_number(at), str(text)) for at, text in connection.execute(query, (id,)))
    summary = _summary(row, now)
    return SessionRecord(summary, Seconds(path, id, summary.seconds), markers)


def find_link(path: Path, link_hash: str) -> str | None:
    """The id of the session with this hash of a one-time link. Raises `StoreError`."""
    with reading(path) as connection:
        row = connection.execute(
            "SELECT id FROM sessions WHERE link_hash = ? AND link_hash != ''", (link_hash,)
        ).fetchone()
    return None if row is None else str(row[0])


def _summary(row: sqlite3.Row, now: Now) -> SessionSummary:
    """The summary in a row, whatever values the row has: damage may put any value anywhere."""
    expires = now.wall + now.keep_s - (now.elapsed - _number(row["began_lived"]))
    return SessionSummary(
        id=str(row["id"]),
        started=_time(row["started"]),
        recorded=_time(row["recorded"]),
        ended=None if row["ended"] is None else _time(row["ended"]),
        ending=str(row["ending"]),
        clock_set=bool(row["clock_set"]),
        expires=None if row["ended"] is None else _time(expires),
        people=int(_number(row["people"])),
        persons=row["persons"],
        seconds=int(row["length"]),
        notice_version=str(row["notice_version"]),
        notice_hash=str(row["notice_hash"]),
        source=str(row["source"]),
        label=str(row["label"]),
        note=str(row["note"]),
    )


def _time(value: Any) -> float:
    return float(value) if is_time(value) else 0.0


def _number(value: Any) -> float:
    return float(value) if is_number(value) else 0.0


def _totals(row: sqlite3.Row) -> PersonTotals:
    scored = row["scored"]
    return PersonTotals(
        person=row["person"],
        seconds=row["seconds"],
        frames=row["frames"],
        scored=scored,
        skipped=row["skipped"],
        unreadable={name: row[name] for name in REASONS if row[name]},
        means={name: row[name] / scored for name in EMOTIONS} if scored else None,
        nods=row["nods"],
        shakes=row["shakes"],
    )


def _piece(number: int, step: int, rows: list[sqlite3.Row]) -> TimelinePiece:
    readable = [row for row in rows if row["scored"]]
    scored = sum(row["scored"] for row in readable)
    means = {name: sum(row["scored"] * row[name] for row in readable) / scored for name in EMOTIONS if scored}
    return TimelinePiece(number * step, step, means or None, sum(row["frames"] for row in rows), scored)
