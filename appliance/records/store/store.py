"""The store: records for the session, the recorder, the pages and the commands, and their upkeep."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import NamedTuple

from appliance.errors import StateConflict, StoreError
from appliance.records import backup
from appliance.records.store import database, queries, transfer
from appliance.records.store.ages import CLOCK_SET, Ages, Clocks
from appliance.records.store.copies import Copies
from appliance.records.store.erasure_log import ErasureLog
from appliance.records.store.queries import SessionRecord
from appliance.records.store.records_file import REPLACED, RecordsFile, StoreStatus, free_mb
from appliance.records.store.rows import COLUMNS, ID, Second, SessionSummary
from appliance.records.store.salvage import BackgroundSalvage, Salvage, SalvageResult
from appliance.records.store.schema import CLOSE_BY_LAST_ROW, MIGRATIONS, Migration
from appliance.records.store.transfer import RestoreResult
from appliance.system.files import write_private
from appliance.values import SessionInfo

log = logging.getLogger("appliance.store")

LONGEST_MARKER = 200
"""The most characters of a marker."""

UPKEEP_EVERY_S, SAVE_EVERY_S, SWEEP_EVERY_S = 60.0, 600.0, 3600.0

_BEGIN = (
    "INSERT INTO sessions (id, started, recorded, clock_set, began_lived, people, notice_version,"
    " notice_hash, source, link_hash, label, note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET ended = NULL, ended_lived = NULL, ending = '',"
    " label = excluded.label, note = excluded.note"
)
_IS_OPEN = "SELECT 1 FROM sessions WHERE id = ? AND ended IS NULL"
_ADD = (
    f"INSERT OR IGNORE INTO seconds (session, {', '.join(COLUMNS)}) "
    f"SELECT ?, {', '.join('?' * len(COLUMNS))} WHERE EXISTS ({_IS_OPEN})"
)
_MARK = f"INSERT INTO markers (session, at, text) SELECT ?, ?, ? WHERE EXISTS ({_IS_OPEN})"
_END = "UPDATE sessions SET ended = recorded + ?, ended_lived = ?, ending = ? WHERE id = ? AND ended IS NULL"
_OLDEST = "SELECT min(began_lived) FROM sessions"
_NEWEST = "SELECT max(max(began_lived, coalesce(ended_lived, 0))) FROM sessions"
_NOT_AFTER = (
    "UPDATE sessions SET began_lived = min(began_lived, :now), ended_lived = min(ended_lived, :now)"
    " WHERE began_lived > :now OR ended_lived > :now"
)
_ERASED = "session {} was erased by another process"


@dataclass(frozen=True)
class StorageLimits:
    """How long rows are kept, and how much of the disk must stay free, in 10^6 bytes."""

    keep_days: int = 7
    min_free_mb: int = 200

    @property
    def keep_s(self) -> float:
        """Seconds for which rows are kept."""
        return self.keep_days * 86_400.0


class _Start(NamedTuple):
    """When recording began: monotonic seconds, Unix seconds, elapsed seconds of the device."""

    monotonic: float
    wall: float
    elapsed: float


class Store:
    """Keeps sessions in one SQLite file. Nothing is written to the disk before the first recording begins.

    Thread-safe; a command may use its own `Store` while the appliance runs.
    """

    def __init__(
        self,
        folder: Path,
        limits: StorageLimits | None = None,
        *,
        clocks: Clocks | None = None,
        free_mb: Callable[[Path], float] = free_mb,
        migrations: Sequence[Migration] = MIGRATIONS,
        on_event: Callable[..., object] = lambda **details: None,
    ) -> None:
        """Opens nothing yet.

        `free_mb`: free megabytes at a path. `on_event` gets what retention erased and what was set aside,
        salvaged or replaced, for the audit log.
        """
        self.limits = limits or StorageLimits()
        """How long rows are kept, and how much of the disk must stay free."""
        self.on_stopped: Callable[[str, str], object] = lambda id, reason: None
        """Called with an id and a reason if recording had to stop; not under the store's lock."""
        self._folder = folder
        self._clocks = clocks or Clocks()
        self._on_event = on_event
        self._ages = Ages(folder / "records.age.json", self._clocks)
        self._copies = Copies(folder)
        self._erasures = ErasureLog(folder / "erasures.jsonl")
        self._starts: dict[str, _Start] = {}
        self._recording: set[str] = set()
        self._file = RecordsFile(
            folder / "records.db",
            self._ages,
            self._copies,
            wall=self._clocks.wall,
            free_mb=free_mb,
            min_free_mb=self.limits.min_free_mb,
            migrations=migrations,
            on_writer=self._recover,
            on_lost=self._recording.clear,
            on_event=self._report,
        )
        self._unsalvaged: set[str] = set()
        """Names of files set aside that are not salvaged yet; empty unless this process is the writer."""
        self._salvage = BackgroundSalvage(
            lambda: [folder / name for name in sorted(self._unsalvaged)],
            self._salvage_file,
            self._mark_salvaged,
        )
        self._due = {"upkeep": 0.0, "save": 0.0, "sweep": 0.0}

    @property
    def path(self) -> Path:
        """The file of records."""
        return self._file.path

    @property
    def status(self) -> StoreStatus:
        """The state of the records, for the page."""
        return self._file.status

    # --- what the session calls ---

    def begin(self, session: SessionInfo) -> None:
        """Start recording; raises `StoreError` if nothing can be recorded."""
        file = self._file
        with file.lock:
            if shortage := file.disk_shortage():
                file.status = StoreStatus("full", shortage)
                raise StoreError(shortage)
            connection = file.open_to_record()
            if session.id in self._erasures.ids():
                raise StoreError(f"session {session.id} was erased; start a new one")
            # Recording again in the same session counts from the first start, also in a new file.
            now = _Start(self._clocks.monotonic(), self._clocks.wall(), self._ages.now())
            start = self._starts.get(session.id, now)
            with file.writing(connection) as writer:
                writer.execute(
                    _BEGIN,
                    (
                        *(session.id, session.started, start.wall, int(start.wall >= CLOCK_SET)),
                        *(start.elapsed, session.people, session.notice_version, session.notice_hash),
                        *(session.source, session.link_hash, session.label, session.note),
                    ),
                )
            self._starts[session.id] = start
            self._recording.add(session.id)
            file.clear_status()
            self._ages.oldest = start.elapsed if self._ages.oldest is None else self._ages.oldest
            self._ages.save()

    def end(self, id: str, ending: str = "stopped") -> None:
        """End recording. Harmless for an id that is not recorded; never raises: stopping must work."""
        file = self._file
        with file.lock:
            if id not in self._recording:
                return
            self._recording.discard(id)
            length_s = self._clocks.monotonic() - self._starts[id].monotonic
            with suppress(StoreError):  # upkeep then closes it within a minute, dated by its last row
                with file.writing(file.open()) as writer:
                    writer.execute(_END, (length_s, self._ages.now(), ending, id))
                self._ages.save()

    def mark(self, id: str, text: str) -> None:
        """Set a marker now; raises `StoreError`, and `StateConflict` for an id that is not recorded."""
        file = self._file
        with file.lock:
            if id not in self._recording:
                raise StateConflict("nothing is recorded: press Start recording first, then set a marker")
            at = self._clocks.monotonic() - self._starts[id].monotonic
            connection = file.open()
            if id not in self._recording:
                raise StoreError(file.status.reason or REPLACED)
            with file.writing(connection) as writer:
                done = writer.execute(_MARK, (id, at, text[:LONGEST_MARKER], id)).rowcount
            if not done:
                raise StoreError(_ERASED.format(id))

    def erase(self, id: str) -> None:
        """Erase a session everywhere, also in copies and backups; harmless for an unknown id.

        Raises `StateConflict` while another process records it, and `StoreError` if a part could not be
        erased: the running appliance retries every minute.
        """
        with self._file.lock:
            if id not in self._recording and self._is_recorded_elsewhere(id):
                raise StateConflict(
                    f"session {id} is being recorded; end the recording on the live page first"
                )
            self._recording.discard(id)
            if ID.fullmatch(id) and (os.path.lexists(self.path) or self._copies.any()):
                self._erasures.begin({id}, self._clocks.wall())
                self._wipe({id})

    # --- what the recorder calls ---

    def began(self, id: str) -> float | None:
        """Monotonic seconds at which recording began; None for an id that is not recorded."""
        with self._file.lock:
            return self._starts[id].monotonic if id in self._recording else None

    def add(self, id: str, seconds: Iterable[Second]) -> None:
        """Store these seconds in one transaction; those of an ended or erased session are dropped.

        If they cannot be stored, recording stops and `on_stopped` is called.
        """
        file = self._file
        with file.lock:
            if id not in self._recording:
                return
            reason = file.disk_shortage()
            if reason:
                file.status = StoreStatus("full", reason)
            else:
                reason = self._insert(id, seconds)
            if reason:
                log.error("recording stops: %s", reason)
                status = file.status
                self.end(id, "full")
                file.status = status
        if reason:
            self.on_stopped(id, reason)

    def _insert(self, id: str, seconds: Iterable[Second]) -> str:
        """Returns why the seconds could not be written; "" if they were."""
        try:
            connection = self._file.open()
            if id not in self._recording:
                return self._file.status.reason or REPLACED
            with self._file.writing(connection) as writer:
                writer.executemany(_ADD, [(id, *astuple(second), id) for second in seconds])
                is_open = writer.execute(_IS_OPEN, (id,)).fetchone()
        except StoreError as error:
            return str(error)
        return "" if is_open else _ERASED.format(id)

    # --- what the pages and commands call ---

    def sessions(self) -> list[SessionSummary]:
        """All sessions, the newest first; raises `StoreError`."""
        with self._reading() as there:
            return queries.sessions(self.path, self._now()) if there else []

    def session(self, id: str) -> SessionRecord | None:
        """One session with its rows; None if it does not exist. Raises `StoreError`."""
        with self._reading() as there:
            return queries.session(self.path, id, self._now()) if there else None

    def find_link(self, link_hash: str) -> str | None:
        """The id of the session with this hash of a one-time link; raises `StoreError`."""
        with self._reading() as there:
            return queries.find_link(self.path, link_hash) if there else None

    @contextmanager
    def _reading(self) -> Iterator[bool]:
        """Yield whether there are records; check the file if a reader finds damage."""
        there = self._file.open() is not None
        try:
            yield there
        except StoreError as error:
            if error.__cause__ is not None and database.is_damage(error.__cause__):
                self._file.check_damage()
            raise

    def _now(self) -> queries.Now:
        with self._file.lock:
            return queries.Now(self._ages.now(), self._clocks.wall(), self.limits.keep_s)

    def backup(self, to: Path, passphrase: str, *, followed: bool = True) -> int:
        """Write all sessions into one encrypted file; returns how many. Raises `StoreError`, `ConfigError`.

        `followed`: the file is removed when a session in it is erased, and when it is too old.
        """
        if self._file.open() is None:
            raise StoreError(f"{self.path}: there are no records to back up")
        with self._reading(), queries.reading(self.path) as connection:
            ids = transfer.session_ids(connection)
            made = self._clocks.wall()
            about = {"ids": ids, "made": made, "lived": self._ages.now()}
            content = backup.seal(transfer.all_rows(connection), about, passphrase)
        if not to.parent.is_dir():  # creating a folder in place of an unmounted stick would mislead
            raise StoreError(f"{to}: there is no folder {to.parent}; expected an existing folder")
        if followed:
            self._copies.note_backup(to, made)  # before it exists: erasing must never miss a backup
        write_private(to, content)
        return len(ids)

    def restore(self, file: Path, passphrase: str) -> RestoreResult:
        """Restore the sessions of a backup that neither exist nor were erased; all or nothing.

        Tries it on a copy first. Raises `StoreError`, and `ConfigError` for a wrong passphrase, a damaged
        file and invalid rows.
        """
        header, rows = backup.unseal(file.read_bytes(), passphrase, str(file))
        with self._file.lock:
            connection = self._file.open_to_record()
            now = self._ages.now()
            made = header["made"]
            # Its device's clock was never set: the age of the backup is unknown.
            off = max(0.0, self._clocks.wall() - made) if made >= CLOCK_SET else 0.0

            def take_in(into: sqlite3.Connection) -> RestoreResult:
                return transfer.take_in(
                    into,
                    transfer.checked(rows(), str(file)),
                    self._erasures.ids(),
                    shift=now - header["lived"] - off,
                    limit=now - self.limits.keep_s,
                )

            with self._file.faults():
                transfer.rehearse(connection, self._folder, take_in)
            with self._file.writing(connection) as writer:
                done = take_in(writer)
            self._sweep()
            return done

    def salvage(self, file: Path) -> SalvageResult:
        """Copy what can be read of a damaged file into the records; safe while the appliance runs.

        Overwrites nothing, and brings nothing erased back. Raises `OSError` and `StoreError`.
        """
        self._file.open_to_record()
        return self._salvage_file(file)

    def close(self) -> None:
        """End the recording, and close the file. May be called twice."""
        self._salvage.stop()
        with self._file.lock:
            for id in list(self._recording):
                self.end(id)
            self._file.close()

    # --- upkeep ---

    def tick(self) -> None:
        """Do the upkeep that is due: open the file at the start, apply retention every hour.

        Call it often. Never raises: what fails is retried after a minute.
        """
        now = self._clocks.monotonic()
        if now >= self._due["upkeep"]:
            self._do_upkeep(now)
        if self._unsalvaged:
            self._salvage.start()

    def _do_upkeep(self, now: float) -> None:
        file = self._file
        with file.lock:
            first, self._due["upkeep"] = not self._due["upkeep"], now + UPKEEP_EVERY_S
            try:
                if file.open() is None and not self._copies.any():
                    if file.status.state == "full" and not file.disk_shortage():
                        file.clear_status()
                    return
                if first:
                    self._due["save"] = now + SAVE_EVERY_S
                self._do_writers_upkeep(now)
            except (OSError, *database.FAULTS) as error:
                log.error("the records: %s", database.error_text(error))

    def _do_writers_upkeep(self, now: float) -> None:
        file = self._file
        if not file.become_writer():  # a command may briefly be the writer
            return
        connection = file.connection
        if connection is not None and not file.read_only_reason:
            self._close_orphans(connection, "full")
        if file.status.state in ("full", "failed") and not file.disk_shortage():
            file.clear_status()
        if now >= self._due["sweep"]:
            self._due["sweep"] = now + SWEEP_EVERY_S
            self._sweep()
        if now >= self._due["save"]:
            self._due["save"] = now + SAVE_EVERY_S
            self._ages.save()
        if connection is None:
            file.release_writer()  # a command such as `restore` may create the records
        if left := self._erasures.unfinished():  # last: an unreachable copy must not stop anything else
            self._wipe(left)

    def _recover(self, connection: sqlite3.Connection) -> None:
        """As the new writer, catch up after a power cut, a restored file or a long time switched off."""
        self._unsalvaged = {path.name for path in self._copies.damaged()} - self._ages.salvaged
        if not self._file.read_only_reason:
            with self._file.faults():
                self._ages.at_least(connection.execute(_NEWEST).fetchone()[0] or 0.0)
                kept = {str(row[0]) for row in connection.execute("SELECT id FROM erasures")}
            with self._file.writing(connection) as writer:  # a row from the future would never expire
                writer.execute(_NOT_AFTER, {"now": self._ages.now()})
            written = self._erasures.ids()
            self._erasures.begin(kept - written, self._clocks.wall())
            self._delete(connection, kept | written)
            self._close_orphans(connection, "power")
        self._sweep()

    def _is_recorded_elsewhere(self, id: str) -> bool:
        """Whether another process, the writer, is recording this session. Raises `StoreError`."""
        connection = self._file.open()
        if connection is None or self._file.is_writer:
            return False
        with self._file.faults():
            return connection.execute(_IS_OPEN, (id,)).fetchone() is not None

    def _close_orphans(self, connection: sqlite3.Connection, ending: str) -> None:
        """End sessions that are no longer recorded, dated by their last row."""
        with self._file.faults():
            still = [row[0] for row in connection.execute("SELECT id FROM sessions WHERE ended IS NULL")]
        if orphans := [(ending, each) for each in still if each not in self._recording]:
            with self._file.writing(connection) as writer:
                writer.executemany(CLOSE_BY_LAST_ROW, orphans)
            log.warning("closed %d session(s) left open, dated by their last row", len(orphans))

    # --- retention and erasing ---

    def _sweep(self) -> None:
        """Erase rows and copies older than `keep_days`. Only the writer does it."""
        with self._file.lock:
            if not self._file.is_writer:
                return
            limit = self._ages.now() - self.limits.keep_s
            connection = self._file.connection
            rows = self._sweep_rows(connection, limit) if connection is not None else 0
            old = self._copies.sweep(self._ages, limit)
            self._ages.save()
            if rows or old:
                self._report(what="swept", sessions=rows, files=len(old))
            if old and self._file.status.state == "set_aside":
                self._file.clear_status()

    def _sweep_rows(self, connection: sqlite3.Connection, limit: float) -> int:
        query = "SELECT id FROM sessions WHERE ended IS NOT NULL AND began_lived <= ?"
        try:
            with self._file.faults():
                old = {row[0] for row in connection.execute(query, (limit,))}
                self._delete(connection, old)
                self._ages.oldest = connection.execute(_OLDEST).fetchone()[0]
            return len(old)
        except StoreError as error:  # such as tables of another version
            log.error("old records cannot be erased: %s", error)
            return 0

    def _wipe(self, ids: set[str]) -> None:
        """Remove these sessions from every file; raises `StoreError` if one could not be changed."""
        connection = self._file.open()
        if connection is not None:
            self._delete(connection, ids)
            with self._file.writing(connection):
                rows = [(each, self._clocks.wall()) for each in ids]
                connection.executemany("INSERT OR IGNORE INTO erasures VALUES (?, ?)", rows)
            with self._file.faults():
                emptied = database.truncate_log(connection)
            if not emptied:
                raise StoreError(
                    "the rows are erased, but a program that reads keeps them in the write-ahead log"
                )
        self._copies.erase(ids)
        self._erasures.finish(ids)

    def _delete(self, connection: sqlite3.Connection, ids: set[str]) -> None:
        with self._file.faults():
            there = [(row[0],) for row in connection.execute("SELECT id FROM sessions") if row[0] in ids]
            if there:
                with database.transaction(connection):
                    for table, column in database.BY_SESSION:
                        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", there)
                database.truncate_log(connection)

    # --- salvage ---

    def _salvage_file(self, file: Path, pause: Callable[[float], object] = time.sleep) -> SalvageResult:
        now = self._ages.now()
        began = min(now, self._ages.files.get(file.name, now))
        limit = now - self.limits.keep_s
        found = Salvage(file, began, now, limit, self._erasures.ids, lambda: self._recording, pause)
        return found.into(self._salvage_batch)

    @contextmanager
    def _salvage_batch(self) -> Iterator[sqlite3.Connection]:
        file = self._file
        with file.lock:
            if shortage := file.disk_shortage():
                raise StoreError(shortage)
            with file.writing(file.open()) as connection:
                yield connection

    def _mark_salvaged(self, path: Path, **details: int) -> None:
        """Note that everything readable in a file set aside is now in the records."""
        with self._file.lock:
            self._unsalvaged.discard(path.name)
            self._ages.salvaged.add(path.name)
            self._ages.save()
            self._report(what="salvaged", file=path.name, **details)

    def _report(self, **details: str | int) -> None:
        try:
            self._on_event(**details)
        except StoreError as error:
            log.error("%s", error)
