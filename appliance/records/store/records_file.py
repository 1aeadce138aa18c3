"""Holds the file of records: its one writing connection, its state in words, its errors, and its upkeep."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError, StoreError
from appliance.records.store import database
from appliance.records.store.ages import Ages
from appliance.records.store.clocks import Clocks
from appliance.records.store.copies import Copies
from appliance.records.store.erasure_log import Journal
from appliance.records.store.limits import Limits, Status
from appliance.records.store.opening import Opener
from appliance.records.store.retention import sweep_files
from appliance.records.store.schema import CLOSE_BY_LAST_ROW, Migration
from appliance.records.store.transfer import forget_rehearsals
from appliance.records.store.writer_lock import Owner

log = logging.getLogger("appliance.store")

LOOK_EVERY_S, SAVE_EVERY_S, SWEEP_EVERY_S = 60.0, 600.0, 3600.0

_OLDEST = "SELECT min(began_lived) FROM sessions"
_NEWEST = "SELECT max(max(began_lived, coalesce(ended_lived, 0))) FROM sessions"
_NOT_AFTER = (
    "UPDATE sessions SET began_lived = min(began_lived, :now), ended_lived = min(ended_lived, :now)"
    " WHERE began_lived > :now OR ended_lived > :now"
)

GONE = (
    "the state directory was removed or replaced while it was in use; records go on in the one that is there"
)


class Holder:
    """Everything that is done with the file as a whole. The user of the connection holds `lock`."""

    def __init__(
        self,
        folder: Path,
        limits: Limits,
        clocks: Clocks,
        room: Callable[[Path], float],
        migrations: Sequence[Migration],
    ) -> None:
        self.folder, self.path = folder, folder / "records.db"
        self.limits, self.clocks, self._room = limits, clocks, room
        self.ages, self.copies = Ages(folder / "records.age.json", clocks), Copies(folder)
        self.journal = Journal(folder / "erasures.jsonl")
        self.lock = threading.RLock()
        self.running: set[str] = set()
        self.unsalvaged: set[str] = set()
        """Names of files set aside that are not salvaged yet; only the owner's process uses this."""
        self.locked = ""
        """Why nothing new may be recorded, "" when it may."""
        self.status = Status()
        self.told: Callable[..., object] = lambda **details: None
        """Told of what was swept or set aside, for the audit log."""
        self._opener = Opener(self.path, self.copies, self.ages, migrations)
        self._owner = Owner(folder / "records.lock")
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._lived = 0.0
        self._replacing = False
        self._due = {"look": 0.0, "save": 0.0, "sweep": 0.0}

    # --- open and close ---

    def opened(self, *, create: bool = False) -> sqlite3.Connection | None:
        """The connection, opened when needed; None while there is no file. Raises `StoreError`."""
        with self.lock:
            gone = self._connection is not None and self._is_gone()
            if gone:
                self._release_gone()
            if self._connection is None and (create or os.path.lexists(self.path)):
                self._open()
            if gone:
                self.status = Status("failed", GONE)
            return self._connection

    def close(self) -> None:
        """Let the file go. May be called twice."""
        with self.lock:
            if self._connection is not None and self._owner.held:
                self.ages.save()
            self._close_connection()
            self._owner.release()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except database.FAULTS as error:
                log.error("%s: %s", self.path, database.said(error))

    def _is_gone(self) -> bool:
        """Whether another file, or none, lies where the open one did."""
        try:
            return database.identity(self.path) != self._identity
        except OSError:  # we may not look there now; that says nothing about the file
            return False

    def _release_gone(self) -> None:
        """The state directory was removed or replaced: neither its file nor its lock mean anything now."""
        log.error("%s: %s", self.path, GONE)
        lived = self.ages.now()
        self._close_connection()
        self._owner.release()
        self.running.clear()
        self._lived = lived  # the count goes on in the folder that is there now
        self._tell(what="replaced", reason=GONE)

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._owner.held:
                self.ages.forget()  # whoever had it may have written there
            there = os.path.lexists(self.path)  # if not, whoever has it looks after other files for a moment
            owner = self._owner.claim() if there else self._owner.claim_soon()
            self.ages.load()
            self.ages.at_least(self._lived)
            if owner:
                forget_rehearsals(self.folder)
            opened = self._opener.open(self.clocks.wall()) if owner else self._opener.open_beside()
        except (OSError, StoreError) as error:
            self._owner.release()
            self.status = Status("failed", str(error))
            raise error if isinstance(error, StoreError) else StoreError(f"{self.folder}: {error}") from error
        self._connection, self.locked = opened.connection, opened.locked
        self._identity = database.identity(self.path)
        if opened.set_aside:
            self._told_aside(opened.set_aside)
        self.calm()
        if owner:
            self.unsalvaged = {path.name for path in self.copies.damaged()} - self.ages.salvaged
            try:
                self._recover(opened.connection)
            except StoreError:
                if self._connection in (None, opened.connection):
                    raise
                # Else it was found damaged only now, and is replaced by a new one.

    def _recover(self, connection: sqlite3.Connection) -> None:
        """What a power cut, a restored file or a long time switched off have left to do."""
        if not self.locked:
            with self.faults():
                self.ages.at_least(connection.execute(_NEWEST).fetchone()[0] or 0.0)
                kept = {str(row[0]) for row in connection.execute("SELECT id FROM erasures")}
            with self.writing(connection) as writer:  # no row is from the future: it would never become old
                writer.execute(_NOT_AFTER, {"now": self.ages.now()})
            written = self.journal.ids()
            self.journal.begun(kept - written, self.clocks.wall())
            self._delete(connection, kept | written)
            self.close_orphans("power")
        self.sweep()

    def _told_aside(self, reason: str) -> None:
        log.error("the records were damaged (%s): set aside, new ones begun", reason)
        self._tell(what="set aside", reason=reason)

    def _tell(self, **details: str | int) -> None:
        try:
            self.told(**details)
        except StoreError as error:
            log.error("%s", error)

    def calm(self) -> None:
        """The state while nothing is wrong now: it still says what was set aside and is not swept yet."""
        damaged = self.copies.damaged()
        if self.locked:
            self.status = Status("read_only", self.locked)
        elif damaged:
            self.status = Status(
                "set_aside",
                f"the records were damaged: the file was set aside as {damaged[-1].name}, and new ones begun",
            )
        else:
            self.status = Status()

    # --- errors and room ---

    @contextmanager
    def faults(self) -> Iterator[None]:
        """What SQLite says becomes `StoreError`, and a file found damaged is set aside."""
        try:
            yield
        except ApplianceError:
            raise
        except database.FAULTS as error:
            said = database.said(error)
            if database.is_damage(error) and not self.locked:
                self._replace(said)
                raise StoreError(f"the records were damaged ({said}); new ones were begun") from error
            full = "full" in said
            reason = "the disk is full; make room" if full else f"the records cannot be written ({said})"
            self.status = Status("full" if full else "failed", reason)
            raise StoreError(reason) from error

    @contextmanager
    def writing(self, connection: sqlite3.Connection | None) -> Iterator[sqlite3.Connection]:
        """A transaction; see `faults`."""
        if connection is None:
            raise StoreError(f"{self.path}: it is not open; try again")
        with self.faults(), database.transaction(connection):
            yield connection

    def mark_salvaged(self, path: Path, **details: int) -> None:
        """All that can be read of a file set aside is here now."""
        with self.lock:
            self.unsalvaged.discard(path.name)
            self.ages.salvaged.add(path.name)
            self.ages.save()
            self._tell(what="salvaged", file=path.name, **details)

    def check_damage(self) -> None:
        """A reader met damage: look at the whole file, and set it aside if that is so."""
        with self.lock:
            if self._connection is not None and self._owner.held:
                # A connection of its own: what the open one remembers of the file may be sound.
                with suppress(StoreError), self.faults(), closing(database.connect(self.path)) as fresh:
                    database.check(fresh)

    def lack(self) -> str:
        """Why there is no room to record, "" while there is."""
        free, wanted = self._room(self.folder), self.limits.min_free_mb
        if free >= wanted:
            return ""
        return (
            f"the disk has {free:.0f} MB left and storage.min_free_mb is {wanted}: nothing is recorded; "
            "make room"
        )

    def _replace(self, reason: str) -> None:
        """The file went bad while it was open."""
        self._close_connection()
        self.running.clear()
        if not self._owner.held:
            return
        if self._replacing:
            raise StoreError(f"{self.path}: a new file is damaged at once ({reason}); the disk fails")
        self._replacing = True
        try:
            self._opener.set_aside(self.clocks.wall())
            self._told_aside(reason)
            self._open()
        except StoreError as error:
            self.status = Status("failed", str(error))
        finally:
            self._replacing = False

    # --- upkeep ---

    def tick(self) -> None:
        """Called often; does what is due. Never raises: what fails is tried again in a minute."""
        now = self.clocks.monotonic()
        if now < self._due["look"]:
            return
        with self.lock:
            first, self._due["look"] = not self._due["look"], now + LOOK_EVERY_S
            try:
                if self.opened() is None and not self.copies.any():
                    if self.status.state == "full" and not self.lack():
                        self.calm()
                    return
                if first:
                    self._due["save"] = now + SAVE_EVERY_S
                self._look(now)
            except (OSError, *database.FAULTS) as error:
                log.error("the records: %s", database.said(error))

    def _look(self, now: float) -> None:
        connection = self._connection
        if not self._owner.held:  # a command was at it when it was opened, or there is no file yet
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._owner.claim():
                return
            if connection is not None:
                self._recover(connection)
        if connection is not None and not self.locked:
            self.close_orphans("full")
        if self.status.state in ("full", "failed") and not self.lack():
            self.calm()
        if now >= self._due["sweep"]:
            self._due["sweep"] = now + SWEEP_EVERY_S
            self.sweep()
        if now >= self._due["save"]:
            self._due["save"] = now + SAVE_EVERY_S
            self.ages.save()
        if connection is None:
            self._owner.release()  # a command may begin the records, as `restore` does
        if left := self.journal.unfinished():  # last: a copy that cannot be reached must stop nothing else
            self.wipe(left)

    def is_recorded_elsewhere(self, id: str) -> bool:
        """Whether the process that owns the file, another one, records this now. Raises `StoreError`."""
        connection = self.opened()
        if connection is None or self._owner.held:
            return False
        with self.faults():
            query = "SELECT 1 FROM sessions WHERE id = ? AND ended IS NULL"
            return connection.execute(query, (id,)).fetchone() is not None

    def close_orphans(self, ending: str) -> None:
        """End sessions that nobody records, dated by their last row."""
        assert self._connection is not None
        with self.faults():
            still = [
                row[0] for row in self._connection.execute("SELECT id FROM sessions WHERE ended IS NULL")
            ]
        if orphans := [(ending, each) for each in still if each not in self.running]:
            with self.writing(self._connection) as connection:
                connection.executemany(CLOSE_BY_LAST_ROW, orphans)
            log.warning("%d session(s) left open were closed, dated by their last row", len(orphans))

    def sweep(self) -> None:
        """Erase what is older than `keep_days`: rows, and files beside them. The owner's business alone."""
        with self.lock:
            if not self._owner.held:
                return
            limit = self.ages.now() - self.limits.keep_s
            rows = self._sweep_rows(limit) if self._connection is not None else 0
            old = sweep_files(self.folder, self.copies, self.ages, limit)
            self.ages.save()
            if rows or old:
                self._tell(what="swept", sessions=rows, files=len(old))
            if old and self.status.state == "set_aside":
                self.calm()

    def _sweep_rows(self, limit: float) -> int:
        assert self._connection is not None
        query = "SELECT id FROM sessions WHERE ended IS NOT NULL AND began_lived <= ?"
        try:
            with self.faults():
                old = {row[0] for row in self._connection.execute(query, (limit,))}
                self._delete(self._connection, old)
                self.ages.oldest = self._connection.execute(_OLDEST).fetchone()[0]
            return len(old)
        except StoreError as error:  # tables of another version, say
            log.error("the records cannot be swept: %s", error)
            return 0

    def wipe(self, ids: set[str]) -> None:
        """These sessions are in no file any more; raises `StoreError` when one could not be reached."""
        connection = self.opened()
        if connection is not None:
            self._delete(connection, ids)
            with self.writing(connection):
                rows: list[tuple[Any, ...]] = [(each, self.clocks.wall()) for each in ids]
                connection.executemany("INSERT OR IGNORE INTO erasures VALUES (?, ?)", rows)
            with self.faults():
                emptied = database.truncate_log(connection)
            if not emptied:
                raise StoreError("the rows are erased, and stay in the write-ahead log while somebody reads")
        self.copies.erase(ids)
        self.journal.done(ids)

    def _delete(self, connection: sqlite3.Connection, ids: set[str]) -> None:
        with self.faults():
            there = [(row[0],) for row in connection.execute("SELECT id FROM sessions") if row[0] in ids]
            if there:
                with database.transaction(connection):
                    for table, column in database.BY_SESSION:
                        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", there)
                database.truncate_log(connection)
