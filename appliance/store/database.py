"""One SQLite file: how it is opened, checked, copied and set aside, and what its errors mean."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.files import sync_folder
from appliance.store.rows import COLUMNS

BUSY_S = 5.0
"""How long to wait for another process that writes."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""Files that belong to a database, by what their names add to its own."""

BY_SESSION = (("seconds", "session"), ("markers", "session"), ("sessions", "id"))
"""Tables with rows of a session, and the column that says of which, in the order in which they may go."""

_TABLES = {
    "sessions": {"id", "started", "recorded", "ended", "ended_lived", "link_hash"},
    "seconds": {"session", *COLUMNS},
    "markers": {"session", "at", "text"},
    "erasures": {"id", "at"},
    "migrations": {"number"},
}


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing; each commit is on the disk, and what is deleted is overwritten."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        for pragma in (
            "secure_delete = ON",
            "synchronous = FULL",
            "foreign_keys = ON",
            "temp_store = MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("PRAGMA journal_mode = WAL").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A short-lived connection that cannot write; everything read in it is of one moment."""
    # A path in a URI: what means something there must not.
    uri = path.absolute().as_uri() + "?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite has rolled back by itself.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: sqlite3.Connection) -> None:
    """Raises `sqlite3.DatabaseError` for a damaged file or one whose tables are not ours."""
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def check_tables(connection: sqlite3.Connection) -> None:
    """Raises `sqlite3.DatabaseError` when a table or a column is missing."""
    for table, columns in _TABLES.items():
        have = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if missing := sorted(columns - have):
            raise sqlite3.DatabaseError(f"table {table} has no {', '.join(missing)}")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether an error means that the file itself is bad, not that the disk is full or somebody is at it."""
    words = str(error)
    return not isinstance(error, sqlite3.OperationalError) or words.startswith(("no such ", "malformed"))


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and empty it; False while a reader still needs it."""
    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


def copy(connection: sqlite3.Connection, to: Path) -> None:
    """A copy of everything committed, in one plain file that only its owner may read."""
    os.close(os.open(to, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(to)) as target:
        connection.backup(target)


def put_back(connection: sqlite3.Connection, copied: Path) -> None:
    """The content of a copy over that of the open file."""
    with contextlib.closing(sqlite3.connect(copied)) as source:
        source.backup(connection)


def move(path: Path, to: Path) -> None:
    """A database and its companions to another name."""
    for suffix in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(to.with_name(to.name + suffix))
    path.replace(to)


def remove(path: Path) -> None:
    """A database and its companions, or whatever lies in their place, are gone; raises `OSError`."""
    for suffix in (*COMPANIONS, ""):
        _remove_one(path.with_name(path.name + suffix))
    with contextlib.suppress(FileNotFoundError):
        sync_folder(path.parent)


def _remove_one(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()
