"""Opening the records: a damaged file is set aside, an older one migrated after it was copied."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import StoreError
from appliance.records.store import database
from appliance.records.store.ages import Ages
from appliance.records.store.copies import Copies, stamp
from appliance.records.store.schema import Migration, migrate, version_of


class _Damaged(Exception):
    """The file is not a sound database of ours."""


@dataclass(frozen=True)
class Opened:
    """An open file of records. `locked`: why nothing new may be recorded, "" when it may."""

    connection: sqlite3.Connection
    locked: str = ""
    set_aside: str = ""
    """Why the file that was there before was set aside, "" when it was not."""


@dataclass(frozen=True)
class Opener:
    """Knows where the file lies and what it may hold."""

    path: Path
    copies: Copies
    ages: Ages
    migrations: Sequence[Migration]

    @property
    def newest(self) -> int:
        """The number of the last migration we know."""
        return self.migrations[-1].number

    def open(self, wall: float) -> Opened:
        """For the process that owns the file; `wall`: Unix seconds now. Raises `StoreError`."""
        reason = ""
        try:
            connection = self._sound()
        except _Damaged as damage:
            reason = str(damage)
            self.set_aside(wall)
            try:
                connection = self._sound()
            except _Damaged as again:
                raise StoreError(
                    f"{self.path}: a new file is damaged at once ({again}); the disk fails"
                ) from again
        return Opened(connection, self._migrated(connection, wall), reason)

    def open_beside(self) -> Opened:
        """For a command beside the running appliance: nothing is repaired. Raises `StoreError`."""
        try:
            connection = self._sound()
        except _Damaged as damage:
            raise StoreError(
                f"{self.path}: {damage}; start the appliance again, which sets it aside"
            ) from damage
        if version_of(connection) != self.newest:
            connection.close()
            raise StoreError(f"{self.path}: another version of the appliance holds it; stop that one first")
        return Opened(connection)

    def set_aside(self, wall: float) -> Path:
        """Rename what lies there, and count its age from its oldest row; raises `StoreError`."""
        aside = self.copies.name("damaged", stamp(wall))
        try:
            database.move(self.path, aside)
        except OSError as error:
            raise StoreError(
                f"{self.path}: damaged, and cannot be set aside ({error.strerror}); correct its rights"
            ) from error
        self.ages.begun(aside.name, self.ages.oldest)
        self.ages.oldest = None
        self.ages.save()
        return aside

    def _sound(self) -> sqlite3.Connection:
        if os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_file()):
            raise _Damaged("it is not a plain file")
        try:
            if not self.path.exists():
                for suffix in database.COMPANIONS:  # without their file they mean nothing
                    database.remove(self.path.with_name(self.path.name + suffix))
            else:
                database.check_header(self.path)
            connection = database.connect(self.path)
        except (*database.FAULTS, OSError) as error:
            raise self._wrapped(error) from error
        try:
            database.check(connection)
            if version_of(connection) == self.newest:
                database.check_tables(connection)
                database.check_sessions(connection)
        except database.FAULTS as error:
            connection.close()
            raise self._wrapped(error) from error
        return connection

    def _wrapped(self, error: Exception) -> Exception:
        if database.is_damage(error):
            return _Damaged(database.said(error))
        return StoreError(f"{self.path}: cannot be opened ({error}); make room or correct its rights")

    def _migrated(self, connection: sqlite3.Connection, wall: float) -> str:
        """Bring it up to date; returns why that failed: then the file is as it was before."""
        have = version_of(connection)
        if have > self.newest:
            return (
                f"the records are of a newer version of the appliance (schema {have}, this one knows "
                f"{self.newest}): they can be read, nothing is recorded; update the appliance"
            )
        if have == self.newest:
            return ""
        copied = self._copied(connection, have, wall) if have else None
        try:
            migrate(connection, wall, self.migrations)
            database.check_tables(connection)
        except database.FAULTS as error:
            if copied is None:
                connection.close()
                raise StoreError(f"{self.path}: the tables cannot be made ({error}); make room") from error
            database.put_back(connection, copied)
            return (
                f"the records could not be brought to schema {self.newest} ({error}): the old file stays in "
                "use and can be read, nothing is recorded; make room and start again, or go back to the "
                "version before"
            )
        return ""

    def _copied(self, connection: sqlite3.Connection, have: int, wall: float) -> Path:
        path = self.copies.name(f"before-{have + 1}", stamp(wall))
        try:
            database.copy(connection, path)
        except (*database.FAULTS, OSError) as error:
            database.remove(path)
            connection.close()
            raise StoreError(
                f"{path}: the records cannot be copied before a change ({error}); make room"
            ) from error
        oldest = connection.execute("SELECT min(began_lived) FROM sessions").fetchone()[0]
        self.ages.begun(path.name, oldest)
        self.ages.save()
        return path
