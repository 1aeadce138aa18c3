"""Turns sessions into rows for a backup, and back: existing sessions stay, erased ones stay erased."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, ConfigError, StoreError
from appliance.records.backup import Row
from appliance.records.store import database
from appliance.records.store.rows import row_fault
from appliance.records.store.schema import CLOSE_BY_LAST_ROW

REHEARSAL = "restoring-"


@dataclass(frozen=True)
class RestoreResult:
    """How many sessions of a backup were restored, existed already, were erased, or are too old."""

    taken: int = 0
    here: int = 0
    erased: int = 0
    old: int = 0


def session_ids(connection: sqlite3.Connection) -> list[str]:
    """The ids of all sessions."""
    return [str(row[0]) for row in connection.execute("SELECT id FROM sessions ORDER BY id")]


def all_rows(connection: sqlite3.Connection) -> Iterator[Row]:
    """Every row of every session, as table and columns; the table of sessions first."""
    for table, _ in reversed(database.BY_SESSION):
        for row in connection.execute(f"SELECT * FROM {table}"):
            yield table, dict(row)


def checked(rows: Iterable[Row], name: str) -> Iterator[Row]:
    """The rows of a backup called `name`, unchanged; raises `ConfigError` at the first invalid one."""
    ids: set[str] = set()
    for table, row in rows:
        reason = row_fault(table, row)
        if not reason and table == "sessions":
            ids.add(row["id"])
        elif not reason and row["session"] not in ids:
            reason = f"a row of {table} belongs to no session"
        if reason:
            raise ConfigError(
                f"{reason}; nothing was restored; use another backup", key="restore", value=name
            )
        yield table, row


def rehearse(
    connection: sqlite3.Connection, folder: Path, work: Callable[[sqlite3.Connection], object]
) -> None:
    """Run `work` in a transaction on a copy in `folder`, and check that copy.

    Raises what `work` raises, `StoreError` if the copy cannot be made, `ConfigError` if it is not valid.
    """
    try:
        with tempfile.TemporaryDirectory(prefix=REHEARSAL, dir=folder) as rehearsal:
            path = Path(rehearsal) / "records.db"
            database.copy(connection, path)
            with contextlib.closing(database.connect(path)) as copied:
                with database.transaction(copied):
                    work(copied)
                database.check(copied)
                database.check_sessions(copied)
    except ApplianceError:
        raise
    except (sqlite3.OperationalError, MemoryError, OSError) as error:
        raise StoreError(
            f"{folder}: the records cannot be copied for a trial ({error}); free some space"
        ) from error
    except database.FAULTS as error:
        reason = f"its rows are inconsistent ({database.error_text(error)})"
        raise ConfigError(f"{reason}; nothing was restored; use another backup", key="restore") from error


def remove_rehearsals(folder: Path) -> None:
    """Remove copies that a power cut left behind: nothing else would erase the records in them."""
    for path in folder.glob(f"{REHEARSAL}*"):
        shutil.rmtree(path, ignore_errors=True)


def take_in(
    connection: sqlite3.Connection, rows: Iterable[Row], erased: set[str], *, shift: float, limit: float
) -> RestoreResult:
    """Insert sessions that neither exist nor are `erased`, with their ages moved by `shift` elapsed seconds.

    Leaves out a session that began at `limit` or before. Call it within a transaction.
    """
    here = set(session_ids(connection))
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
    return RestoreResult(**counts)


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    if table not in dict(database.BY_SESSION):
        raise sqlite3.OperationalError(f"unknown table {table!r}")
    known = {each[1] for each in connection.execute(f"PRAGMA table_info({table})")}
    columns = [name for name in row if name in known]
    places = ", ".join("?" * len(columns))
    connection.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", [row[name] for name in columns]
    )
