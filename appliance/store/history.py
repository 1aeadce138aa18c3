"""Reading the records: each call opens its own connection, which cannot write, and closes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import StoreError
from appliance.store import database
from appliance.store.rows import COLUMNS, Kept, Marker, Second, Session

_KEPT = (
    "SELECT sessions.*, (SELECT count(DISTINCT person) FROM seconds WHERE session = id) AS persons, "
    "coalesce((SELECT max(second) + 1 FROM seconds WHERE session = id), 0) AS length FROM sessions"
)


@dataclass(frozen=True)
class Now:
    """What ages are told by: seconds lived and Unix seconds now, and for how many seconds rows are kept."""

    lived: float
    wall: float
    keep_s: float


@contextmanager
def _read(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        with database.reading(path) as connection:
            yield connection
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot be read ({error}); try again") from error


def sessions(path: Path, now: Now) -> list[Kept]:
    """All sessions, the newest first. Raises `StoreError`."""
    with _read(path) as connection:
        rows = connection.execute(f"{_KEPT} ORDER BY began_lived DESC, id").fetchall()
    return [_kept(row, now) for row in rows]


def session(path: Path, id: str, now: Now) -> Session | None:
    """One session, None when there is none. Raises `StoreError`."""
    with _read(path) as connection:
        row = connection.execute(f"{_KEPT} WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        columns = ", ".join(COLUMNS)
        query = f"SELECT {columns} FROM seconds WHERE session = ? ORDER BY person, second"
        seconds = tuple(Second(*each) for each in connection.execute(query, (id,)))
        query = "SELECT at, text FROM markers WHERE session = ? ORDER BY at, number"
        markers = tuple(Marker(*each) for each in connection.execute(query, (id,)))
    return Session(_kept(row, now), seconds, markers)


def find_link(path: Path, link_hash: str) -> str | None:
    """The id of the session with this hash of a one-time link. Raises `StoreError`."""
    with _read(path) as connection:
        row = connection.execute(
            "SELECT id FROM sessions WHERE link_hash = ? AND link_hash != ''", (link_hash,)
        ).fetchone()
    return None if row is None else str(row[0])


def _kept(row: sqlite3.Row, now: Now) -> Kept:
    return Kept(
        id=row["id"],
        started=row["started"],
        recorded=row["recorded"],
        ended=row["ended"],
        ending=row["ending"],
        clock_set=bool(row["clock_set"]),
        expires=None if row["ended"] is None else now.wall + now.keep_s - (now.lived - row["began_lived"]),
        people=row["people"],
        persons=row["persons"],
        seconds=row["length"],
        notice_version=row["notice_version"],
        notice_hash=row["notice_hash"],
        source=row["source"],
        label=row["label"],
        note=row["note"],
    )
