"""Sessions as rows for a backup, and back: what is here stays, what was erased stays erased."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from appliance.store import database
from appliance.store.backup import Row
from appliance.store.schema import CLOSE_BY_LAST_ROW


@dataclass(frozen=True)
class Restored:
    """How many sessions of a backup were taken in, were here already, were erased, or are too old."""

    taken: int = 0
    here: int = 0
    erased: int = 0
    old: int = 0


def ids_of(connection: sqlite3.Connection) -> list[str]:
    """The ids of all sessions."""
    return [str(row[0]) for row in connection.execute("SELECT id FROM sessions ORDER BY id")]


def give_out(connection: sqlite3.Connection) -> Iterator[Row]:
    """Every row of every session, sessions first."""
    for table, _ in reversed(database.BY_SESSION):
        for row in connection.execute(f"SELECT * FROM {table}"):
            yield table, dict(row)


def take_in(
    connection: sqlite3.Connection, rows: Iterable[Row], erased: set[str], *, shift: float, limit: float
) -> Restored:
    """Insert what is neither here nor `erased`, its ages moved by `shift` seconds lived.

    A session that began before `limit` is not taken in. Call it within a transaction.
    """
    here = set(ids_of(connection))
    counts = {"taken": 0, "here": 0, "erased": 0, "old": 0}
    wanted: set[str] = set()
    for table, row in rows:
        if table == "sessions":
            id, ended = row["id"], row["ended_lived"]
            row["began_lived"] += shift
            row["ended_lived"] = None if ended is None else ended + shift
            old = row["began_lived"] <= limit
            fate = "erased" if id in erased else "here" if id in here else "old" if old else "taken"
            counts[fate] += 1
            if fate == "taken":
                wanted.add(id)
        row.pop("number", None)
        if row["id" if table == "sessions" else "session"] in wanted:
            _insert(connection, table, row)
    connection.executemany(CLOSE_BY_LAST_ROW, [("backup", id) for id in wanted])
    return Restored(**counts)


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    if table not in dict(database.BY_SESSION):
        raise sqlite3.OperationalError(f"a table {table!r} is not known")
    known = {each[1] for each in connection.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in row if name in known]
    places = ", ".join("?" * len(columns))
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", [row[name] for name in columns]
    )
