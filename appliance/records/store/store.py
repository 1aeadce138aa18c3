"""The store: what the session, the recorder, the pages and the commands do with records."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path

from appliance.errors import StateConflict, StoreError
from appliance.records import backup
from appliance.records.store import database, queries, statements, transfer
from appliance.records.store.background_salvage import Salvager
from appliance.records.store.clocks import CLOCK_SET, Clocks
from appliance.records.store.limits import Limits, Status, free_mb
from appliance.records.store.queries import Session
from appliance.records.store.records_file import GONE, Holder
from appliance.records.store.rows import Kept, Second
from appliance.records.store.salvage import Salvaged
from appliance.records.store.schema import MIGRATIONS, Migration
from appliance.records.store.statements import Start, values_of
from appliance.records.store.transfer import Restored
from appliance.records.store.validation import ID
from appliance.system.files import write_private
from appliance.values import SessionInfo

log = logging.getLogger("appliance.store")


class Store:
    """Keeps sessions in one SQLite file. Nothing is on the disk before the first recording begins.

    Safe between threads; a command may use its own beside the running appliance.
    """

    def __init__(
        self,
        folder: Path,
        limits: Limits | None = None,
        *,
        clocks: Clocks | None = None,
        room: Callable[[Path], float] = free_mb,
        migrations: Sequence[Migration] = MIGRATIONS,
        told: Callable[..., object] = lambda **details: None,
    ) -> None:
        """Nothing is opened yet. `room`: free megabytes at a path. `told`: what was swept or set aside."""
        self._clocks = clocks or Clocks()
        self._held = Holder(folder, limits or Limits(), self._clocks, room, migrations)
        self._held.told = told
        self._salvager = Salvager(self._held)
        self._starts: dict[str, Start] = {}
        self.on_stopped: Callable[[str, str], object] = lambda id, reason: None
        """Called with an id and a reason when recording had to stop; not under the store's lock."""

    @property
    def path(self) -> Path:
        """Where the records lie."""
        return self._held.path

    @property
    def limits(self) -> Limits:
        """How much is kept and for how long."""
        return self._held.limits

    @property
    def status(self) -> Status:
        """How the records are, for the page."""
        return self._held.status

    # --- what the session calls ---

    def begin(self, session: SessionInfo) -> None:
        """Recording begins; raises `StoreError` when it cannot be kept: then nothing is recorded."""
        held = self._held
        with held.lock:
            if lack := held.lack():
                held.status = Status("full", lack)
                raise StoreError(lack)
            connection = held.opened(create=True)
            if held.locked:
                raise StoreError(held.locked)
            if session.id in held.journal.ids():
                raise StoreError(f"session {session.id} was erased; start a new one")
            # Once more in the same session goes on from its beginning, also in a new file.
            now = Start(self._clocks.monotonic(), self._clocks.wall(), held.ages.now())
            start = self._starts.get(session.id, now)
            with held.writing(connection) as writer:
                writer.execute(statements.BEGIN, values_of(session, start))
            self._starts[session.id] = start
            held.running.add(session.id)
            held.calm()
            held.ages.oldest = start.lived if held.ages.oldest is None else held.ages.oldest
            held.ages.save()

    def end(self, id: str, ending: str = "stopped") -> None:
        """Recording ends. Harmless for an id that is not recorded; never raises: stopping must work."""
        held = self._held
        with held.lock:
            if id not in held.running:
                return
            held.running.discard(id)
            elapsed = self._clocks.monotonic() - self._starts[id].monotonic
            with suppress(StoreError):  # then it is closed within a minute, dated by its last row
                with held.writing(held.opened()) as writer:
                    writer.execute(statements.END, (elapsed, held.ages.now(), ending, id))
                held.ages.save()

    def mark(self, id: str, text: str) -> None:
        """A marker now; raises `StateConflict` for an id that is not recorded, and `StoreError`."""
        held = self._held
        with held.lock:
            if id not in held.running:
                raise StateConflict("nothing is recorded: press Record first, then set a marker")
            at = self._clocks.monotonic() - self._starts[id].monotonic
            connection = held.opened()
            if id not in held.running:
                raise StoreError(held.status.reason or GONE)
            with held.writing(connection) as writer:
                done = writer.execute(statements.MARK, (id, at, text[: statements.LONGEST_TEXT], id)).rowcount
            if not done:
                raise StoreError(statements.ERASED.format(id))

    def erase(self, id: str) -> None:
        """Everything of it is gone at once, also from copies and backups; harmless for an unknown id.

        Raises `StateConflict` while another process records it, and `StoreError` when a part could not be
        reached: the running appliance tries again every minute.
        """
        held = self._held
        with held.lock:
            if id not in held.running and held.is_recorded_elsewhere(id):
                raise StateConflict(
                    f"session {id} is being recorded; press Stop or Withdraw on the live page first"
                )
            held.running.discard(id)
            if ID.fullmatch(id) and (os.path.lexists(held.path) or held.copies.any()):
                held.journal.begun({id}, self._clocks.wall())
                held.wipe({id})

    # --- what the recorder calls ---

    def began(self, id: str) -> float | None:
        """Monotonic seconds at which recording began; None for an id that is not recorded."""
        with self._held.lock:
            return self._starts[id].monotonic if id in self._held.running else None

    def add(self, id: str, seconds: Iterable[Second]) -> None:
        """Keep these seconds, in one transaction; those of an ended or erased session are dropped.

        When they cannot be kept recording stops, and `on_stopped` is told.
        """
        held = self._held
        with held.lock:
            if id not in held.running:
                return
            reason = held.lack()
            if reason:
                held.status = Status("full", reason)
            else:
                reason = self._insert(id, seconds)
            if reason:
                log.error("recording stops: %s", reason)
                status = held.status
                self.end(id, "full")
                held.status = status
        if reason:
            self.on_stopped(id, reason)

    def tick(self) -> None:
        """Upkeep that is due: opening at the start, sweeping by the hour. Call it often; it never raises."""
        self._held.tick()
        self._salvager.tick()

    # --- what the pages and commands call ---

    def sessions(self) -> list[Kept]:
        """All sessions, the newest first; raises `StoreError`."""
        with self._reading() as there:
            return queries.sessions(self.path, self._now()) if there else []

    def session(self, id: str) -> Session | None:
        """One session with its rows, None when there is none; raises `StoreError`."""
        with self._reading() as there:
            return queries.session(self.path, id, self._now()) if there else None

    def find_link(self, link_hash: str) -> str | None:
        """The id of the session with this hash of a one-time link; raises `StoreError`."""
        with self._reading() as there:
            return queries.find_link(self.path, link_hash) if there else None

    def backup(self, to: Path, passphrase: str, *, followed: bool = True) -> int:
        """Write all sessions into one sealed file; returns how many. Raises `StoreError`, `ConfigError`.

        `followed`: it is removed, where it lies, when a session in it is erased and when it is too old.
        """
        held = self._held
        if held.opened() is None:
            raise StoreError(f"{self.path}: there are no records to back up")
        with self._reading(), queries.reading(self.path) as connection:
            ids = transfer.ids_of(connection)
            made = self._clocks.wall()
            about = {"ids": ids, "made": made, "lived": held.ages.now()}
            content = backup.seal(transfer.give_out(connection), about, passphrase)
        if (
            not to.parent.is_dir()
        ):  # a stick that is not mounted: a folder made in its place would fool everybody
            raise StoreError(f"{to}: there is no folder {to.parent}; expected one that exists")
        if followed:
            held.copies.note_backup(to, made)  # before it is there: erasing must never miss one
        write_private(to, content)
        return len(ids)

    def restore(self, file: Path, passphrase: str) -> Restored:
        """Take in the sessions of a backup that are neither here nor erased; all or nothing.

        It is tried on a copy before. Raises `ConfigError` for a wrong passphrase, a damaged file and
        rows that do not fit, and `StoreError`.
        """
        held = self._held
        header, rows = backup.unseal(file.read_bytes(), passphrase, str(file))
        with held.lock:
            connection = held.opened(create=True)
            if held.locked:
                raise StoreError(held.locked)
            now = held.ages.now()
            made = header["made"]
            # Made by a clock that was never set: nobody knows how long ago.
            off = max(0.0, self._clocks.wall() - made) if made >= CLOCK_SET else 0.0

            def take_in(into: sqlite3.Connection) -> Restored:
                return transfer.take_in(
                    into,
                    transfer.checked(rows(), str(file)),
                    held.journal.ids(),
                    shift=now - header["lived"] - off,
                    limit=now - held.limits.keep_s,
                )

            assert connection is not None
            with held.faults():
                transfer.rehearse(connection, held.folder, take_in)
            with held.writing(connection) as writer:
                done = take_in(writer)
            held.sweep()
            return done

    def salvage(self, file: Path) -> Salvaged:
        """Take in what can be read of a damaged file; works beside a running appliance.

        Nothing here is overwritten, nothing erased comes back. Raises `OSError` and `StoreError`.
        """
        held = self._held
        if held.opened(create=True) is None or held.locked:
            raise StoreError(held.locked or f"{self.path}: it is not open; try again")
        return self._salvager.salvage(file)

    def wait_salvaged(self, timeout: float) -> bool:
        """Wait for what `tick` began to salvage; says whether all is done."""
        return self._salvager.wait(timeout)

    def close(self) -> None:
        """End what is recorded, and let the file go. May be called twice."""
        self._salvager.stop()
        with self._held.lock:
            for id in list(self._held.running):
                self.end(id)
            self._held.close()

    # --- pieces ---

    @contextmanager
    def _reading(self) -> Iterator[bool]:
        """Whether there are records to read; damage that a reader meets is looked into."""
        there = self._held.opened() is not None
        try:
            yield there
        except StoreError as error:
            if error.__cause__ is not None and database.is_damage(error.__cause__):
                self._held.check_damage()
            raise

    def _insert(self, id: str, seconds: Iterable[Second]) -> str:
        """Returns why it could not be written, "" when it was."""
        try:
            connection = self._held.opened()
            if id not in self._held.running:
                return self._held.status.reason or GONE
            with self._held.writing(connection) as writer:
                writer.executemany(statements.ADD, [(id, *astuple(second), id) for second in seconds])
                going = writer.execute(statements.IS_OPEN, (id,)).fetchone()
        except StoreError as error:
            return str(error)
        return "" if going else statements.ERASED.format(id)

    def _now(self) -> queries.Now:
        held = self._held
        with held.lock:
            return queries.Now(held.ages.now(), self._clocks.wall(), held.limits.keep_s)
