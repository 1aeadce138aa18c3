"""One SQLite file: opening, checking, copying and moving it, and the meaning of its errors."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from appliance.records.store.ages import MAX_ELAPSED_S
from appliance.records.store.rows import RULES
from appliance.system.files import sync_directory

BUSY_S = 5.0
"""How long to wait for another process that writes."""

FAULTS = (sqlite3.Error, ValueError, OverflowError, MemoryError)
"""What the sqlite3 module raises when it reads or writes a file: if a message of SQLite quotes a damaged
schema that is not UTF-8, it raises `UnicodeDecodeError`."""

COMPANIONS = ("-wal", "-shm", "-journal")
"""Suffixes of the files that belong to a database."""

BY_SESSION = (("seconds", "session"), ("markers", "session"), ("sessions", "id"))
"""Tables with a session's rows and the column with its id, in the order in which rows may be deleted."""

_TABLES = {
    **{table: set(rules) for table, rules in RULES.items()},
    "erasures": {"id", "at"},
    "migrations": {"number"},
}

_CORRUPT, _NOTADB = 11, 26
_JOURNAL_VERSIONS = (1, 2)  # bytes 18 and 19 of the header; SQLite opens others read-only or not at all
_BAD_SCHEMA = ("no such ", "malformed", "unsupported file format")


class Damage(sqlite3.DatabaseError):
    """A check of the appliance found the file damaged."""


def _text(raw: bytes) -> str:
    """Text in a damaged file may not be UTF-8."""
    return raw.decode("utf-8", "replace")


def connect(path: Path) -> sqlite3.Connection:
    """Open for writing; each commit is synced to the disk, and deleted rows are overwritten."""
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
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
    """A short-lived read-only connection; everything read through it is one snapshot."""
    # As a URI, so that special characters in the path are quoted.
    uri = path.absolute().as_uri() + "?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        connection.text_factory = _text
        connection.execute("BEGIN")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction: everything or nothing is written."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite has already rolled back.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check_header(path: Path) -> None:
    """Raise `Damage` for a header for which SQLite reports only that the file cannot be written."""
    with path.open("rb") as file:
        header = file.read(20)
    if len(header) == 20 and not {header[18], header[19]}.issubset(_JOURNAL_VERSIONS):
        raise Damage(f"its header has versions {header[18]} and {header[19]}; expected 1 or 2")


def check(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` for a damaged file: pages, rows, indexes, and rows without a session.

    On 345,600 rows, twelve hours of eight people, `integrity_check` takes as long as `quick_check`, which
    misses a damaged index: the large table has no separate index.
    """
    found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise Damage(found)
    orphan = connection.execute("PRAGMA foreign_key_check").fetchone()
    if orphan is not None:
        raise Damage(f"table {orphan[0]} has rows without a session")


def check_tables(connection: sqlite3.Connection) -> None:
    """Raise `Damage` if a table or a column is missing."""
    for table, columns in _TABLES.items():
        have = {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}
        if missing := sorted(columns - have):
            raise Damage(f"table {table} has no {', '.join(missing)}")


def check_sessions(connection: sqlite3.Connection) -> None:
    """Raise `Damage` for a session without a valid age or end: retention would never reach it."""
    odd = connection.execute(
        "SELECT count(*) FROM sessions WHERE typeof(id) != 'text' OR typeof(began_lived) != 'real'"
        " OR abs(began_lived) > ? OR typeof(recorded) != 'real' OR typeof(started) != 'real'"
        " OR typeof(ended) NOT IN ('real', 'null') OR typeof(ended_lived) NOT IN ('real', 'null')"
        " OR (ended IS NULL) != (ended_lived IS NULL)",
        (MAX_ELAPSED_S,),
    ).fetchone()[0]
    if odd:
        raise Damage(f"{odd} rows of sessions have no valid age or end")


def is_damage(error: BaseException) -> bool:
    """Whether an error means that the file itself is damaged: its pages, its header or its schema.

    A full disk, a lock and missing permissions are not damage; nor is a violated constraint or an invalid
    value: these are mistakes in what is written.
    """
    if isinstance(error, (Damage, UnicodeDecodeError)):
        return True
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # from Python 3.11 on
    if code is not None and code & 0xFF in (_CORRUPT, _NOTADB):
        return True
    if isinstance(error, sqlite3.OperationalError):
        return str(error).startswith(_BAD_SCHEMA)
    # Without a code: only these two are raised as the base class.
    return code is None and type(error) is sqlite3.DatabaseError


def error_text(error: BaseException) -> str:
    """The message of an error, in one printable line."""
    if isinstance(error, UnicodeDecodeError):  # it would quote the bytes at length
        return "its schema is not text"
    return " ".join(str(error).split()) or type(error).__name__


def identity(path: Path) -> tuple[int, int] | None:
    """The file at a path, by device and inode; None if it is missing. Raises `OSError` without permission."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and empty it; False while a reader still needs it."""
    return bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


def copy(connection: sqlite3.Connection, to: Path) -> None:
    """Copy everything committed into one file that only its owner may read."""
    os.close(os.open(to, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(to)) as target:
        connection.backup(target)


def put_back(connection: sqlite3.Connection, copied: Path) -> None:
    """Overwrite the content of the open file with a copy."""
    with contextlib.closing(sqlite3.connect(copied)) as source:
        source.backup(connection)


def move(path: Path, to: Path) -> None:
    """Move a database and its companions to another name."""
    for suffix in COMPANIONS:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(to.with_name(to.name + suffix))
    path.replace(to)


def remove(path: Path) -> None:
    """Remove a database and its companions, or whatever is in their place; raises `OSError`."""
    for suffix in (*COMPANIONS, ""):
        _remove_one(path.with_name(path.name + suffix))
    with contextlib.suppress(FileNotFoundError):
        sync_directory(path.parent)


def _remove_one(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        shutil.rmtree(path)
    else:
        path.unlink()
