"""The file of records: this process opens it, migrates it, writes to it, and replaces it if it is damaged."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from appliance.errors import ApplianceError, StoreError
from appliance.records.store import database
from appliance.records.store.ages import Ages
from appliance.records.store.copies import Copies, stamp
from appliance.records.store.schema import Migration, migrate, version_of
from appliance.records.store.transfer import remove_rehearsals
from appliance.records.store.writer_lock import WriterLock

log = logging.getLogger("appliance.store")

REPLACED = (
    "the state directory was removed or replaced while it was in use; recording continues in the new one"
)


@dataclass(frozen=True)
class StoreStatus:
    """The state of the records (`ok`, `full`, `failed`, `read_only` or `set_aside`) and the reason."""

    state: str = "ok"
    reason: str | None = None


class _Damaged(Exception):
    """The file is not an intact database of this appliance."""


class _Opened(NamedTuple):
    connection: sqlite3.Connection
    read_only_reason: str = ""
    set_aside: str = ""
    """Why the previous file was set aside; "" if it was not."""


def free_mb(folder: Path) -> float:
    """Free space on the disk of a folder, in 10^6 bytes; the folder may not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6


class RecordsFile:
    """One SQLite file, this process's connection to it, and its status. Knows nothing about sessions.

    Hold `lock` while you use the connection. Only one process at a time is the writer: it migrates the file,
    sets a damaged one aside, and does the upkeep. Commands in other processes may read and write meanwhile.
    """

    def __init__(
        self,
        path: Path,
        ages: Ages,
        copies: Copies,
        *,
        wall: Callable[[], float],
        free_mb: Callable[[Path], float],
        min_free_mb: int,
        migrations: Sequence[Migration],
        on_writer: Callable[[sqlite3.Connection], object],
        on_lost: Callable[[], object],
        on_event: Callable[..., object],
    ) -> None:
        """Opens nothing yet.

        `wall`: Unix seconds now. `free_mb`: free megabytes at a path. `on_writer` gets the connection when
        this process becomes the writer; `on_lost` is called if the open file is missing or was set aside;
        `on_event` gets details for the audit log. All are called under `lock`.
        """
        self.path = path
        self.lock = threading.RLock()
        self.status = StoreStatus()
        self.read_only_reason = ""
        """Why nothing new may be recorded; "" if it may."""
        self._ages, self._copies, self._migrations = ages, copies, migrations
        self._wall, self._free_mb, self._min_free_mb = wall, free_mb, min_free_mb
        self._on_writer, self._on_lost, self._on_event = on_writer, on_lost, on_event
        self._writer_lock = WriterLock(path.with_name("records.lock"))
        self.connection: sqlite3.Connection | None = None
        """The open connection, if any; `open` opens it."""
        self._identity: tuple[int, int] | None = None
        self._elapsed = 0.0
        self._replacing = False

    # --- opening and closing ---

    @property
    def is_writer(self) -> bool:
        """Whether this process is the writer."""
        return self._writer_lock.held

    def open(self, *, create: bool = False) -> sqlite3.Connection | None:
        """The connection, opened if needed; None if there is no file yet. Raises `StoreError`."""
        with self.lock:
            gone = self.connection is not None and self._is_gone()
            if gone:
                self._release_gone()
            if self.connection is None and (create or os.path.lexists(self.path)):
                self._open()
            if gone:
                self.status = StoreStatus("failed", REPLACED)
            return self.connection

    def open_to_record(self) -> sqlite3.Connection:
        """Like `open`, but creates the file; raises `StoreError` also if nothing new may be recorded."""
        connection = self.open(create=True)
        if connection is None or self.read_only_reason:
            raise StoreError(self.read_only_reason or f"{self.path}: the records are not open; try again")
        return connection

    def become_writer(self) -> bool:
        """Become the writer, even before the file exists; False if another process is. Raises `OSError`."""
        if self.is_writer:
            return True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self._writer_lock.acquire():
            return False
        if self.connection is not None:
            self._on_writer(self.connection)
        return True

    def release_writer(self) -> None:
        """Let another process become the writer; `restore` must be the writer to create the records."""
        self._writer_lock.release()

    def close(self) -> None:
        """Close the file. May be called twice."""
        with self.lock:
            if self.connection is not None and self.is_writer:
                self._ages.save()
            self._close_connection()
            self._writer_lock.release()

    def _close_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                connection.close()
            except database.FAULTS as error:
                log.error("%s: %s", self.path, database.error_text(error))

    def _is_gone(self) -> bool:
        """Whether the path is now another file, or missing."""
        try:
            return database.identity(self.path) != self._identity
        except OSError:  # no permission at the moment, which says nothing about the file
            return False

    def _release_gone(self) -> None:
        """Release the file and the lock of a state directory that was removed or replaced."""
        log.error("%s: %s", self.path, REPLACED)
        elapsed = self._ages.now()
        self._close_connection()
        self._writer_lock.release()
        self._on_lost()
        self._elapsed = elapsed  # the count continues in the new folder
        self._on_event(what="replaced", reason=REPLACED)

    def _open(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.is_writer:
                self._ages.forget()  # the last writer may have changed the file
            # Without a file, another process may hold the lock briefly, to maintain other files.
            there, lock = os.path.lexists(self.path), self._writer_lock
            is_writer = lock.acquire() if there else lock.acquire_soon()
            self._ages.load()
            self._ages.at_least(self._elapsed)
            if is_writer:
                remove_rehearsals(self.path.parent)
            opened = self._open_as_writer() if is_writer else self._open_beside()
        except (OSError, StoreError) as error:
            self._writer_lock.release()
            self.status = StoreStatus("failed", str(error))
            raise (
                error if isinstance(error, StoreError) else StoreError(f"{self.path.parent}: {error}")
            ) from error
        self.connection, self.read_only_reason = opened.connection, opened.read_only_reason
        self._identity = database.identity(self.path)
        if opened.set_aside:
            self._report_set_aside(opened.set_aside)
        self.clear_status()
        if is_writer:
            try:
                self._on_writer(opened.connection)
            except StoreError:
                if self.connection in (None, opened.connection):
                    raise
                # Otherwise the damage was found only now, and a new file is open.

    def _open_as_writer(self) -> _Opened:
        reason = ""
        try:
            connection = self._open_sound()
        except _Damaged as damage:
            reason = str(damage)
            self._set_aside()
            try:
                connection = self._open_sound()
            except _Damaged as again:
                raise StoreError(
                    f"{self.path}: the new file is damaged too ({again}); replace the disk"
                ) from again
        return _Opened(connection, self._migrate(connection), reason)

    def _open_beside(self) -> _Opened:
        """Open for a command while the appliance runs: repairs nothing."""
        try:
            connection = self._open_sound()
        except _Damaged as damage:
            raise StoreError(f"{self.path}: {damage}; restart the appliance, which sets it aside") from damage
        if version_of(connection) != self._newest:
            connection.close()
            raise StoreError(f"{self.path}: another version of the appliance uses it; stop that one first")
        return _Opened(connection)

    def _open_sound(self) -> sqlite3.Connection:
        if os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_file()):
            raise _Damaged("it is not a regular file")
        try:
            if not self.path.exists():
                for suffix in database.COMPANIONS:  # useless without their file
                    database.remove(self.path.with_name(self.path.name + suffix))
            else:
                database.check_header(self.path)
            connection = database.connect(self.path)
        except (*database.FAULTS, OSError) as error:
            raise self._open_error(error) from error
        try:
            database.check(connection)
            if version_of(connection) == self._newest:
                database.check_tables(connection)
                database.check_sessions(connection)
        except database.FAULTS as error:
            connection.close()
            raise self._open_error(error) from error
        return connection

    def _open_error(self, error: Exception) -> Exception:
        if database.is_damage(error):
            return _Damaged(database.error_text(error))
        return StoreError(
            f"{self.path}: cannot be opened ({error}); free some space or correct its permissions"
        )

    # --- migrations ---

    @property
    def _newest(self) -> int:
        return self._migrations[-1].number

    def _migrate(self, connection: sqlite3.Connection) -> str:
        """Migrate to the newest schema; if that fails, returns why nothing may be recorded, otherwise ""."""
        have, newest = version_of(connection), self._newest
        if have > newest:
            return (
                f"the records belong to a newer version of the appliance (schema {have}; this version knows "
                f"{newest}): they are readable, but nothing is recorded; update the appliance"
            )
        if have == newest:
            return ""
        copied = self._copy_before_migration(connection, have) if have else None
        try:
            migrate(connection, self._wall(), self._migrations)
            database.check_tables(connection)
        except database.FAULTS as error:
            if copied is None:
                connection.close()
                raise StoreError(
                    f"{self.path}: the tables cannot be created ({error}); free some space"
                ) from error
            database.put_back(connection, copied)
            return (
                f"the records could not be migrated to schema {newest} ({error}): the old file stays in "
                "use and is readable, but nothing is recorded; free some space and restart, or roll back to "
                "the previous version"
            )
        return ""

    def _copy_before_migration(self, connection: sqlite3.Connection, have: int) -> Path:
        path = self._copies.free_path(f"before-{have + 1}", stamp(self._wall()))
        try:
            database.copy(connection, path)
        except (*database.FAULTS, OSError) as error:
            database.remove(path)
            connection.close()
            raise StoreError(
                f"{path}: the records cannot be copied before a migration ({error}); free some space"
            ) from error
        oldest = connection.execute("SELECT min(began_lived) FROM sessions").fetchone()[0]
        self._ages.begun(path.name, oldest)
        self._ages.save()
        return path

    # --- writing, errors, damage ---

    @contextmanager
    def writing(self, connection: sqlite3.Connection | None) -> Iterator[sqlite3.Connection]:
        """A transaction on the connection from `open`; raises `StoreError`, see `faults`."""
        if connection is None:
            raise StoreError(f"{self.path}: the records are not open; try again")
        with self.faults(), database.transaction(connection):
            yield connection

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn errors of SQLite into `StoreError`, and set the file aside if it is damaged."""
        try:
            yield
        except ApplianceError:
            raise
        except database.FAULTS as error:
            text = database.error_text(error)
            if database.is_damage(error) and not self.read_only_reason:
                self._replace(text)
                raise StoreError(f"the records were damaged ({text}); a new file was created") from error
            full = "full" in text
            reason = (
                "the disk is full; free some space" if full else f"the records cannot be written ({text})"
            )
            self.status = StoreStatus("full" if full else "failed", reason)
            raise StoreError(reason) from error

    def check_damage(self) -> None:
        """Check the entire file after a reader found damage, and set it aside if it is damaged."""
        with self.lock:
            if self.connection is not None and self.is_writer:
                # Use a new connection: the pages that the open one has cached may be intact.
                with suppress(StoreError), self.faults(), closing(database.connect(self.path)) as fresh:
                    database.check(fresh)

    def _replace(self, reason: str) -> None:
        """The file was damaged while it was open: create a new one."""
        self._close_connection()
        self._on_lost()
        if not self.is_writer:
            return
        if self._replacing:
            raise StoreError(f"{self.path}: the new file is damaged too ({reason}); replace the disk")
        self._replacing = True
        try:
            self._set_aside()
            self._report_set_aside(reason)
            self._open()
        except StoreError as error:
            self.status = StoreStatus("failed", str(error))
        finally:
            self._replacing = False

    def _set_aside(self) -> None:
        """Rename the file, and count its age from its oldest row; raises `StoreError`."""
        aside = self._copies.free_path("damaged", stamp(self._wall()))
        try:
            database.move(self.path, aside)
        except OSError as error:
            raise StoreError(
                f"{self.path}: damaged, and cannot be set aside ({error.strerror}); correct its permissions"
            ) from error
        self._ages.begun(aside.name, self._ages.oldest)
        self._ages.oldest = None
        self._ages.save()

    def _report_set_aside(self, reason: str) -> None:
        log.error("the records were damaged (%s): the file was set aside and a new one created", reason)
        self._on_event(what="set aside", reason=reason)

    # --- status ---

    def clear_status(self) -> None:
        """Reset the status to no current fault; it still names a file that was set aside and still exists."""
        damaged = self._copies.damaged()
        if self.read_only_reason:
            self.status = StoreStatus("read_only", self.read_only_reason)
        elif damaged:
            self.status = StoreStatus(
                "set_aside",
                f"the records were damaged: the file was set aside as {damaged[-1].name} "
                "and a new one created",
            )
        else:
            self.status = StoreStatus()

    def disk_shortage(self) -> str:
        """Why there is not enough space to record; "" if there is."""
        free, wanted = self._free_mb(self.path.parent), self._min_free_mb
        if free >= wanted:
            return ""
        return (
            f"the disk has {free:.0f} MB left and storage.min_free_mb is {wanted}: nothing is recorded; "
            "free some space"
        )
