"""Reading the records: each call opens its own connection, which cannot write, and closes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, StoreError
from appliance.store import database
from appliance.store.rows import COLUMNS, Kept, Marker, Second, Session
from appliance.store.validation import FITTING_SECOND, LONGEST_SESSION_S, is_number, is_time

_KEPT = (
    "SELECT sessions.*, (SELECT count(DISTINCT person) FROM seconds WHERE session = id) AS persons, "
    "coalesce((SELECT max(second) + 1 FROM seconds WHERE session = id AND typeof(second) = 'integer'"
    f" AND second < {LONGEST_SESSION_S}), 0) AS length FROM sessions"
)


@dataclass(frozen=True)
class Now:
    """What ages are told by: seconds lived and Unix seconds now, and for how many seconds rows are kept."""

    lived: float
    wall: float
    keep_s: float


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write; what SQLite says becomes `StoreError`."""
    try:
        with database.reading(path) as connection:
            yield connection
    except ApplianceError:
        raise
    except database.FAULTS as error:
        raise StoreError(f"{path}: cannot be read ({database.said(error)}); try again") from error


def sessions(path: Path, now: Now) -> list[Kept]:
    """All sessions, the newest first. Raises `StoreError`."""
    with reading(path) as connection:
        rows = connection.execute(f"{_KEPT} ORDER BY began_lived DESC, id").fetchall()
    return [_kept(row, now) for row in rows]


def session(path: Path, id: str, now: Now) -> Session | None:
    """One session, None when there is none. Raises `StoreError`."""
    with reading(path) as connection:
        row = connection.execute(f"{_KEPT} WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        columns = ", ".join(COLUMNS)
        query = (
            f"SELECT {columns} FROM seconds WHERE session = ? AND {FITTING_SECOND} ORDER BY person, second"
        )
        seconds = tuple(Second(*each) for each in connection.execute(query, (id,)))
        query = "SELECT at, text FROM markers WHERE session = ? AND typeof(at) = 'real' ORDER BY at, number"
        markers = tuple(Marker(_number(at), str(text)) for at, text in connection.execute(query, (id,)))
    return Session(_kept(row, now), seconds, markers)


def find_link(path: Path, link_hash: str) -> str | None:
    """The id of the session with this hash of a one-time link. Raises `StoreError`."""
    with reading(path) as connection:
        row = connection.execute(
            "SELECT id FROM sessions WHERE link_hash = ? AND link_hash != ''", (link_hash,)
        ).fetchone()
    return None if row is None else str(row[0])


def _kept(row: sqlite3.Row, now: Now) -> Kept:
    """A session, whatever its row holds: damage may have put any value anywhere."""
    expires = now.wall + now.keep_s - (now.lived - _number(row["began_lived"]))
    return Kept(
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
