"""Holds the file of records: its one writing connection, its state in words, and its upkeep by the hour."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from appliance.errors import StoreError
from appliance.store import database
from appliance.store.ages import Ages
from appliance.store.clocks import Clocks
from appliance.store.copies import Copies
from appliance.store.journal import Journal
from appliance.store.limits import Limits, Status
from appliance.store.opening import Opener
from appliance.store.owner import Owner
from appliance.store.schema import CLOSE_BY_LAST_ROW, Migration

log = logging.getLogger("appliance.store")

LOOK_EVERY_S, SAVE_EVERY_S, SWEEP_EVERY_S = 60.0, 600.0, 3600.0

_OLDEST = "SELECT min(began_lived) FROM sessions"
_NEWEST = "SELECT max(max(began_lived, coalesce(ended_lived, 0))) FROM sessions"


class Holder:
    """Everything that is done with the file as a whole. Whoever uses the connection holds `lock`."""

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
        self.locked = ""
        """Why nothing new may be recorded, "" when it may."""
        self.status = Status()
        self.told: Callable[..., object] = lambda **details: None
        """Told of what was swept or set aside, for the audit log."""
        self._opener = Opener(self.path, self.copies, self.ages, migrations)
        self._owner = Owner(folder / "records.lock")
        self._connection: sqlite3.Connection | None = None
        self._due = {"look": 0.0, "save": 0.0, "sweep": 0.0}

    # --- open and close ---

    def opened(self, *, create: bool = False) -> sqlite3.Connection | None:
        """The connection, opened when needed; None while there is no file. Raises `StoreError`."""
        with self.lock:
            if self._connection is None and (create or os.path.lexists(self.path)):
                self._open()
            return self._connection

    def close(self) -> None:
        """Let the file go. May be called twice."""
        with self.lock:
            if self._connection is not None:
                if self._owner.held:
                    self.ages.save()
                self._connection.close()
            self._connection = None
            self._owner.release()

    def _open(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not self._owner.held:
                self.ages.forget()  # whoever had it may have written there
            there = os.path.lexists(self.path)  # if not, whoever has it looks after other files for a moment
            owner = self._owner.claim() if there else self._owner.claim_soon()
            self.ages.load()
            opened = self._opener.open(self.clocks.wall()) if owner else self._opener.open_beside()
        except (OSError, StoreError) as error:
            self._owner.release()
            self.status = Status("failed", str(error))
            raise error if isinstance(error, StoreError) else StoreError(f"{self.folder}: {error}") from error
        self._connection, self.locked = opened.connection, opened.locked
        if opened.set_aside:
            self._told_aside(opened.set_aside)
        self.calm()
        if owner:
            self._recover(opened.connection)

    def _recover(self, connection: sqlite3.Connection) -> None:
        """What a power cut, a restored file or a long time switched off have left to do."""
        if not self.locked:
            self.ages.at_least(connection.execute(_NEWEST).fetchone()[0] or 0.0)
            kept = {row[0] for row in connection.execute("SELECT id FROM erasures")}
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
    def writing(self, connection: sqlite3.Connection | None) -> Iterator[sqlite3.Connection]:
        """A transaction; what SQLite says becomes `StoreError`, and a file found damaged is set aside."""
        if connection is None:
            raise StoreError(f"{self.path}: it is not open; try again")
        try:
            with database.transaction(connection):
                yield connection
        except sqlite3.Error as error:
            if database.is_damage(error):
                self._replace(str(error))
                raise StoreError(f"the records were damaged ({error}); new ones were begun") from error
            full = "full" in str(error)
            reason = "the disk is full; make room" if full else f"the records cannot be written ({error})"
            self.status = Status("full" if full else "failed", reason)
            raise StoreError(reason) from error

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
        assert self._connection is not None
        self._connection.close()
        self._connection = None
        self.running.clear()
        if not self._owner.held:
            return
        try:
            self._opener.set_aside(self.clocks.wall())
            self._told_aside(reason)
            self._open()
        except StoreError as error:
            self.status = Status("failed", str(error))

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
            except (StoreError, sqlite3.Error, OSError) as error:
                log.error("the records: %s", error)

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

    def close_orphans(self, ending: str) -> None:
        """End sessions that nobody records, dated by their last row."""
        assert self._connection is not None
        still = [row[0] for row in self._connection.execute("SELECT id FROM sessions WHERE ended IS NULL")]
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
            names = {str(path.relative_to(self.folder)): path for path in self.copies.all()}
            self.ages.files = {name: at for name, at in self.ages.files.items() if name in names}
            old = [path for name, path in names.items() if self.ages.begun(name) <= limit]
            backups = [path for path in self.copies.old_backups(limit) if path not in old]
            for path in [*old, *backups]:
                try:
                    if path in backups:
                        path.unlink()
                    else:
                        database.remove(path)
                except OSError as error:
                    log.error("%s is too old and cannot be removed: %s", path, error)
            self.ages.save()
            if rows or old or backups:
                self._tell(what="swept", sessions=rows, files=len(old) + len(backups))
            if old and self.status.state == "set_aside":
                self.calm()

    def _sweep_rows(self, limit: float) -> int:
        assert self._connection is not None
        try:
            query = "SELECT id FROM sessions WHERE ended IS NOT NULL AND began_lived <= ?"
            old = {row[0] for row in self._connection.execute(query, (limit,))}
            self._delete(self._connection, old)
            self.ages.oldest = self._connection.execute(_OLDEST).fetchone()[0]
            return len(old)
        except sqlite3.Error as error:  # tables of another version
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
            if not database.truncate_log(connection):
                raise StoreError("the rows are erased, and stay in the write-ahead log while somebody reads")
        self.copies.erase(ids)
        self.journal.done(ids)

    def _delete(self, connection: sqlite3.Connection, ids: set[str]) -> None:
        there = [(row[0],) for row in connection.execute("SELECT id FROM sessions") if row[0] in ids]
        if there:
            with self.writing(connection):
                for table, column in database.BY_SESSION:
                    connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", there)
            database.truncate_log(connection)
