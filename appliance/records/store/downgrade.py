"""Records and versions: a new one tries its migrations on a copy, an older one takes back what it can.

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
from appliance.records.store.ages import Ages
from appliance.records.store.clocks import Clocks
from appliance.records.store.copies import Copies, stamp
from appliance.records.store.erasure_log import Journal
from appliance.records.store.schema import MIGRATIONS, migrate, version_of
from appliance.records.store.store import Store
from appliance.records.store.writer_lock import Owner

log = logging.getLogger("appliance.store")

RECORDS = "records.db"
_TRIAL = "trial-"
_BESIDE = ("erasures.jsonl", "records.age.json")
_NEWEST = MIGRATIONS[-1].number


def try_migration(folder: Path) -> str:
    """Migrate a copy of the records in `folder`, erasures included, and throw it away; in words how it went.

    Works beside a running appliance and changes nothing. Raises `StoreError` when the real ones would fail.
    """
    path = folder / RECORDS
    if not path.exists():
        return "there are none yet"
    with tempfile.TemporaryDirectory(prefix=_TRIAL, dir=folder) as trial:
        try:
            have = _copied(path, Path(trial))
        except database.FAULTS as error:
            if not database.is_damage(error):
                raise StoreError(f"{path}: cannot be copied ({error}); make room or try again") from error
            return f"they are damaged ({error}): the next start sets them aside, as any start would"
        except OSError as error:
            raise StoreError(
                f"{trial}: the records cannot be copied ({error.strerror}); make room"
            ) from error
        fitted = fit(Path(trial)) if have > _NEWEST else ""
        store = Store(Path(trial))
        try:
            count = len(store.sessions())
            if store.status.state == "read_only":
                raise StoreError(str(store.status.reason))
        finally:
            store.close()
    return fitted or f"{count} sessions, schema {have}" + (f" to {_NEWEST}" if have != _NEWEST else "")


def forget_trials(folder: Path) -> None:
    """Remove the copies of trials that a power cut ended: nothing else would ever erase what is in them."""
    for path in folder.glob(f"{_TRIAL}*"):
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            log.error("%s is a copy of records and cannot be removed; remove it", path)


def fit(folder: Path, clocks: Clocks | None = None) -> str:
    """Make records of a newer version readable by this one, while no appliance runs; in words what was done.

    The newer file stays beside as a copy, which retention and erasing reach; nothing erased comes back.
    "" when they fit already. Raises `StoreError`. May be interrupted and called again.
    """
    path, owner = folder / RECORDS, Owner(folder / "records.lock")
    if not path.exists():
        return ""
    try:
        if not owner.claim_soon():
            raise StoreError(f"{path}: an appliance or a command has it open; stop that one first")
        with contextlib.closing(database.connect(path)) as newer:
            if version_of(newer) <= _NEWEST:
                return ""
            database.truncate_log(newer)
            return _fitted(path, newer, clocks or Clocks())
    except ApplianceError:
        raise
    except database.FAULTS as error:
        if database.is_damage(error):
            return ""  # the next start sets it aside
        raise StoreError(
            f"{path}: cannot be made to fit ({database.said(error)}); make room and try again"
        ) from error
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be made to fit ({error.strerror}); make room and try again"
        ) from error
    finally:
        owner.release()


def _copied(path: Path, into: Path) -> int:
    """Copy records and what lies beside them; returns the schema they have."""
    with database.reading(path) as connection:
        database.copy(connection, into / RECORDS)
        have = version_of(connection)
    for name in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(path.with_name(name), into / name)
    return have


def _fitted(path: Path, newer: sqlite3.Connection, clocks: Clocks) -> str:
    copies, ages = Copies(path.parent), Ages(path.with_name("records.age.json"), clocks)
    erased = Journal(path.with_name("erasures.jsonl")).ids()
    fresh = path.with_name("records.fitting.db")
    database.remove(fresh)
    newer.row_factory = sqlite3.Row
    try:
        told = _taken_back(newer, fresh, erased, clocks.wall())
    except (*database.FAULTS, KeyError, TypeError) as error:  # rows that this version cannot take
        database.remove(fresh)
        told = _from_copy(copies, fresh, erased, clocks.wall(), str(error))
    aside = copies.name("before-rollback", stamp(clocks.wall()))
    newer.close()
    os.link(path, aside)  # the name `records.db` never leads to nothing
    ages.begun(aside.name, ages.oldest)
    ages.save()
    fresh.replace(path)
    return f"{told}; what the newer version had stays in {aside.name} until retention has swept it"


def _taken_back(newer: sqlite3.Connection, fresh: Path, erased: set[str], wall: float) -> str:
    """Every row, with the columns that this version knows."""
    with _opened(fresh, wall) as older, database.transaction(older):
        rows = transfer.give_out(newer)
        done = transfer.take_in(older, rows, erased, shift=0.0, limit=float("-inf"))
        older.executemany(
            "INSERT OR IGNORE INTO erasures VALUES (?, ?)",
            [(row["id"], row["at"]) for row in newer.execute("SELECT id, at FROM erasures")],
        )
    return f"{done.taken} sessions of a newer version were taken back to schema {_NEWEST}"


def _from_copy(copies: Copies, fresh: Path, erased: set[str], wall: float, reason: str) -> str:
    """The newest copy made before a migration that this version can read; without one, empty records."""
    for copy in reversed(copies.databases()):
        try:
            with database.reading(copy) as source:
                if version_of(source) > _NEWEST:
                    continue
                database.copy(source, fresh)
        except database.FAULTS:
            database.remove(fresh)
            continue
        with _opened(fresh, wall) as older, database.transaction(older):
            for table, column in database.BY_SESSION:
                older.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(each,) for each in erased])
        return f"the records are those of {copy.name}, since this version cannot read newer ones ({reason})"
    with _opened(fresh, wall):
        return f"the records begin anew, since this version cannot read newer ones ({reason})"


@contextlib.contextmanager
def _opened(path: Path, wall: float) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(database.connect(path)) as connection:
        migrate(connection, wall)
        yield connection
        database.truncate_log(connection)
