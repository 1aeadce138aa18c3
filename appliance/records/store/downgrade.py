"""Records of another version: a newer one tries its migrations on a copy, an older one downgrades the schema.

See docs/decisions/0032-records-and-updates.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from appliance.errors import ApplianceError, StoreError
from appliance.records.store import database, transfer
from appliance.records.store.ages import Ages, Clocks
from appliance.records.store.copies import Copies, stamp
from appliance.records.store.erasure_log import ErasureLog
from appliance.records.store.schema import MIGRATIONS, migrate, version_of
from appliance.records.store.store import Store
from appliance.records.store.writer_lock import WriterLock

log = logging.getLogger("appliance.store")

RECORDS = "records.db"
_TRIAL = "trial-"
_BESIDE = ("erasures.jsonl", "records.age.json")
_NEWEST = MIGRATIONS[-1].number


def try_migration(folder: Path) -> str:
    """Migrate a copy of the records in `folder`, including erasures; returns the outcome in words.

    Safe while the appliance runs; changes nothing. Raises `StoreError` if the migration would fail.
    """
    path = folder / RECORDS
    if not path.exists():
        return "none yet"
    with tempfile.TemporaryDirectory(prefix=_TRIAL, dir=folder) as trial:
        try:
            have = _copy_records(path, Path(trial))
        except database.FAULTS as error:
            if not database.is_damage(error):
                raise StoreError(
                    f"{path}: cannot be copied ({error}); free some space or try again"
                ) from error
            return f"damaged ({error}); the next start sets them aside, with or without the update"
        except OSError as error:
            raise StoreError(
                f"{trial}: the records cannot be copied ({error.strerror}); free some space"
            ) from error
        outcome = downgrade(Path(trial)) if have > _NEWEST else ""
        store = Store(Path(trial))
        try:
            count = len(store.sessions())
            if store.status.state == "read_only":
                raise StoreError(str(store.status.reason))
        finally:
            store.close()
    return outcome or f"{count} sessions, schema {have}" + (f" to {_NEWEST}" if have != _NEWEST else "")


def remove_trials(folder: Path) -> None:
    """Remove copies that a power cut left behind: nothing else would erase the records in them."""
    for path in folder.glob(f"{_TRIAL}*"):
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            log.error("%s is a copy of records and cannot be removed; remove it manually", path)


def downgrade(folder: Path, clocks: Clocks | None = None) -> str:
    """Convert records of a newer schema to this version's, while no appliance runs.

    The newer file is kept as a copy, which retention and erasing reach; nothing erased comes back. Returns in
    words what was done, "" if nothing was needed. Raises `StoreError`. May be interrupted and called again.
    """
    path, lock = folder / RECORDS, WriterLock(folder / "records.lock")
    if not path.exists():
        return ""
    try:
        if not lock.acquire_soon():
            raise StoreError(f"{path}: an appliance or a command has it open; stop it first")
        with contextlib.closing(database.connect(path)) as newer:
            if version_of(newer) <= _NEWEST:
                return ""
            database.truncate_log(newer)
            return _downgrade(path, newer, clocks or Clocks())
    except ApplianceError:
        raise
    except database.FAULTS as error:
        if database.is_damage(error):
            return ""  # the next start sets it aside
        raise StoreError(
            f"{path}: cannot be converted ({database.error_text(error)}); free some space and try again"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be converted ({error.strerror}); free some space and try again"
        ) from error
    finally:
        lock.release()


def _copy_records(path: Path, into: Path) -> int:
    """Copy the records and the files that belong to them; returns their schema."""
    with database.reading(path) as connection:
        database.copy(connection, into / RECORDS)
        have = version_of(connection)
    for name in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(name), into / name)
    return have


def _downgrade(path: Path, newer: sqlite3.Connection, clocks: Clocks) -> str:
    copies, ages = Copies(path.parent), Ages(path.with_name("records.age.json"), clocks)
    erased = ErasureLog(path.with_name("erasures.jsonl")).ids()
    fresh = path.with_name("records.fitting.db")
    database.remove(fresh)
    newer.row_factory = sqlite3.Row
    try:
        outcome = _convert_rows(newer, fresh, erased, clocks.wall())
    except (*database.FAULTS, KeyError, TypeError) as error:  # rows that this version cannot use
        database.remove(fresh)
        outcome = _use_copy(copies, fresh, erased, clocks.wall(), str(error))
    aside = copies.free_path("before-rollback", stamp(clocks.wall()))
    newer.close()
    os.link(path, aside)  # `records.db` exists at every moment
    ages.begun(aside.name, ages.oldest)
    ages.save()
    fresh.replace(path)
    return f"{outcome}; the records of the newer version stay in {aside.name} until retention removes it"


def _convert_rows(newer: sqlite3.Connection, fresh: Path, erased: set[str], wall: float) -> str:
    """Copy every row, with the columns that this version knows."""
    with _created(fresh, wall) as older, database.transaction(older):
        rows = transfer.all_rows(newer)
        done = transfer.take_in(older, rows, erased, shift=0.0, limit=float("-inf"))
        older.executemany(
            "INSERT OR IGNORE INTO erasures VALUES (?, ?)",
            [(row["id"], row["at"]) for row in newer.execute("SELECT id, at FROM erasures")],
        )
    return f"{done.taken} sessions of a newer version were converted to schema {_NEWEST}"


def _use_copy(copies: Copies, fresh: Path, erased: set[str], wall: float, reason: str) -> str:
    """Use the newest copy made before a migration that this version can read; otherwise empty records."""
    for copy in reversed(copies.databases()):
        try:
            with database.reading(copy) as source:
                if version_of(source) > _NEWEST:
                    continue
                database.copy(source, fresh)
        except database.FAULTS:
            database.remove(fresh)
            continue
        with _created(fresh, wall) as older, database.transaction(older):
            for table, column in database.BY_SESSION:
                older.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(each,) for each in erased])
        return (
            f"the records were restored from {copy.name}: this version cannot read the newer ones ({reason})"
        )
    with _created(fresh, wall):
        return f"the records are empty now: this version cannot read the newer ones ({reason})"


@contextlib.contextmanager
def _created(path: Path, wall: float) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(database.connect(path)) as connection:
        migrate(connection, wall)
        yield connection
        database.truncate_log(connection)
