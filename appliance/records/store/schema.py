"""The tables, created by numbered migrations, each in its own transaction together with its record."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from appliance.records.store.database import Damage
from appliance.records.store.rows import COLUMNS, REASONS
from appliance.values import EMOTIONS

APPLICATION_ID = 0x49475231
"""In the file's header: marks it as the appliance's ("IGR1")."""

CLOSE_BY_LAST_ROW = (
    "UPDATE sessions SET ending = ?, ended = recorded + {last}, ended_lived = began_lived + {last} "
    "WHERE id = ? AND ended IS NULL"
).format(last="coalesce((SELECT max(second) + 1 FROM seconds WHERE session = sessions.id), 0)")
"""Ends a session that is no longer recorded."""


@dataclass(frozen=True)
class Migration:
    """One step: its number (from 1 up), its description, and its function."""

    number: int
    name: str
    apply: Callable[[sqlite3.Connection], None]


def first_tables(connection: sqlite3.Connection) -> None:
    """Sessions, seconds, markers, erasures."""
    connection.execute(
        "CREATE TABLE sessions (id TEXT PRIMARY KEY, started REAL NOT NULL, recorded REAL NOT NULL,"
        " ended REAL, ending TEXT NOT NULL DEFAULT '', clock_set INTEGER NOT NULL, began_lived REAL NOT NULL,"
        " ended_lived REAL, people INTEGER NOT NULL, notice_version TEXT NOT NULL, notice_hash TEXT NOT NULL,"
        " source TEXT NOT NULL, link_hash TEXT NOT NULL, label TEXT NOT NULL, note TEXT NOT NULL)"
    )
    whole = {"frames", "scored", "skipped", "nods", "shakes", *REASONS}
    empty = {*EMOTIONS, "yaw", "pitch", "roll", "head", "body"}
    columns = [
        f"{name} {'INTEGER' if name in whole else 'REAL'}{'' if name in empty else ' NOT NULL'}"
        for name in COLUMNS
        if name not in ("person", "second")
    ]
    connection.execute(
        "CREATE TABLE seconds (session TEXT NOT NULL REFERENCES sessions(id) ON DELETE CASCADE,"
        f" person INTEGER NOT NULL, second INTEGER NOT NULL, {', '.join(columns)},"
        " PRIMARY KEY (session, person, second)) WITHOUT ROWID"
    )
    connection.execute(
        "CREATE TABLE markers (number INTEGER PRIMARY KEY, session TEXT NOT NULL REFERENCES sessions(id)"
        " ON DELETE CASCADE, at REAL NOT NULL, text TEXT NOT NULL)"
    )
    connection.execute("CREATE INDEX markers_session ON markers (session)")
    connection.execute("CREATE TABLE erasures (id TEXT PRIMARY KEY, at REAL NOT NULL)")


MIGRATIONS: tuple[Migration, ...] = (Migration(1, "first tables", first_tables),)
"""All migrations, in order. Never edit a published one: a change is a new migration."""


def version_of(connection: sqlite3.Connection) -> int:
    """The number of the last applied migration; 0 for an empty file. Raises `Damage` for a foreign file."""
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
    if not tables:
        return 0
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Damage("it is another program's database")
    query = "SELECT count(*), min(number), max(number) FROM migrations"
    count, first, newest = connection.execute(query).fetchone()
    if (first, newest) != (1, count):
        raise Damage(f"{count} migrations are numbered from {first!r} to {newest!r}")
    return int(newest)


def migrate(
    connection: sqlite3.Connection, wall: float, migrations: Sequence[Migration] = MIGRATIONS
) -> None:
    """Apply the missing migrations; raises what they raise. `wall`: Unix seconds, for their record."""
    have = version_of(connection)
    for migration in migrations:
        if migration.number <= have:
            continue
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL,"
                " at REAL NOT NULL)"
            )
            migration.apply(connection)
            connection.execute(
                "INSERT INTO migrations VALUES (?, ?, ?)", (migration.number, migration.name, wall)
            )
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
