"""The file of records: its one writing connection, its state in words, and what its errors mean."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from appliance.errors import ApplianceError, StoreError
from appliance.store import database
from appliance.store.ages import Ages
from appliance.store.clocks import Clocks
from appliance.store.copies import Copies
from appliance.store.journal import Journal
from appliance.store.limits import Limits, Status
from appliance.store.opening import Opener
from appliance.store.owner import Owner
from appliance.store.schema import Migration
from appliance.store.transfer import forget_rehearsals

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


class RecordsFile:
    """The file as a whole, open or not. Whoever uses the connection holds `lock`."""

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
        """Names of files set aside that nobody has salvaged yet; the owner's business."""
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
                self._let_go_of_gone()
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

    def _let_go_of_gone(self) -> None:
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
        """What is left to do when the owner has opened it."""
        raise NotImplementedError

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

    def was_salvaged(self, path: Path, **details: int) -> None:
        """All that can be read of a file set aside is here now."""
        with self.lock:
            self.unsalvaged.discard(path.name)
            self.ages.salvaged.add(path.name)
            self.ages.save()
            self._tell(what="salvaged", file=path.name, **details)

    def suspect(self) -> None:
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
