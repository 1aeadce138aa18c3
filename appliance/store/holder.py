"""Looks after the file of records: what a start finds left to do, and upkeep by the hour."""

from __future__ import annotations

import logging
import sqlite3
from typing import Any

from appliance.errors import StoreError
from appliance.store import database
from appliance.store.recordsfile import RecordsFile
from appliance.store.retention import sweep_files
from appliance.store.schema import CLOSE_BY_LAST_ROW

log = logging.getLogger("appliance.store")

LOOK_EVERY_S, SAVE_EVERY_S, SWEEP_EVERY_S = 60.0, 600.0, 3600.0

_OLDEST = "SELECT min(began_lived) FROM sessions"
_NEWEST = "SELECT max(max(began_lived, coalesce(ended_lived, 0))) FROM sessions"
_NOT_AFTER = (
    "UPDATE sessions SET began_lived = min(began_lived, :now), ended_lived = min(ended_lived, :now)"
    " WHERE began_lived > :now OR ended_lived > :now"
)


class Holder(RecordsFile):
    """Everything that is done with the file as a whole."""

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
