"""Copies the readable rows of a damaged file into the records. See docs/decisions/0054-salvage.md.

It overwrites no existing rows, brings nothing erased back, and keeps ages. It writes in short transactions,
so that a running appliance can record meanwhile.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.records.store.rows import RULES, row_fault
from appliance.records.store.sqlite_pages import records

log = logging.getLogger("appliance.store")

RETRY_S = 60.0
"""Seconds until a failed salvage, such as for lack of space, is retried."""

_BATCH = 1000
"""Rows in a transaction."""

_REAL = ("started", "recorded", "ended", "began_lived", "ended_lived", "at")
_COLUMNS = {
    "sessions": (
        *(
            "id",
            "started",
            "recorded",
            "ended",
            "ending",
            "clock_set",
            "began_lived",
            "ended_lived",
            "people",
        ),
        *("notice_version", "notice_hash", "source", "link_hash", "label", "note"),
    ),
    "seconds": tuple(RULES["seconds"]),
    "markers": ("number", "session", "at", "text"),
}
_END = (
    "UPDATE sessions SET ending = 'salvaged', ended = recorded + {last}, ended_lived = began_lived"
    " WHERE id = ? AND ended IS NULL"
).format(last="coalesce((SELECT max(second) + 1 FROM seconds WHERE session = sessions.id), 0)")

Row = dict[str, Any]


@dataclass(frozen=True)
class SalvageResult:
    """Numbers of sessions and rows copied, and of sessions without date and notice, erased, and too old."""

    sessions: int = 0
    rows: int = 0
    nameless: int = 0
    erased: int = 0
    old: int = 0


@dataclass(frozen=True)
class Salvage:
    """The salvage of one file. Times are elapsed seconds.

    `began` replaces the start of a session whose start is lost; a session from `limit` or before is too old.
    """

    path: Path
    began: float
    now: float
    limit: float
    erased: Callable[[], set[str]]
    running: Callable[[], set[str]] = set
    pause: Callable[[float], object] = time.sleep
    _sessions: dict[str, Row] = field(default_factory=dict)
    _rows: dict[str, int] = field(default_factory=dict)

    def into(self, writing: Callable[[], Any]) -> SalvageResult:
        """`writing` gives a connection within a transaction. Raises `OSError`, `StoreError`."""
        for table, row in self._found():
            if table == "sessions":
                self._sessions[row["id"]] = row
            elif table == "seconds":
                self._rows[row["session"]] = self._rows.get(row["session"], 0) + 1
        nameless = [id for id, count in self._rows.items() if id not in self._sessions and count]
        for id in nameless:
            self._sessions[id] = self._nameless_row(id)
        wanted = {id for id, row in self._sessions.items() if row["began_lived"] > self.limit}
        with writing() as writer:
            erased = wanted & self.erased()  # within the transaction, so that no erasure happens in between
            wanted -= erased
            opened = {id for id in wanted if self._add_session(writer, self._sessions[id])}
        rows = sum(self._add(writing, batch) for batch in self._batches(wanted))
        with writing() as writer:
            # One of these sessions may be recording again meanwhile.
            writer.executemany(_END, [(id,) for id in opened - self.running()])
        old = len(self._sessions) - len(wanted) - len(erased)
        return SalvageResult(len(wanted), rows, len(set(nameless) & wanted), len(erased), old)

    def _found(self) -> Iterator[tuple[str, Row]]:
        for page in records(self.path):
            began = time.monotonic()
            for is_table, values in page:
                for table, columns in _COLUMNS.items():
                    if len(values) == len(columns) and is_table == (table != "seconds"):
                        row = dict(zip(columns, values, strict=True))
                        _as_real(row)
                        _drop_half_an_end(row)
                        if not row_fault(table, row):
                            yield table, row
            self.pause(min(0.05, time.monotonic() - began))  # leave the processor to the live view

    def _batches(self, wanted: set[str]) -> Iterator[list[tuple[str, Row]]]:
        batch: list[tuple[str, Row]] = []
        for table, row in self._found():
            if table != "sessions" and row["session"] in wanted:
                batch.append((table, row))
            if len(batch) >= _BATCH:
                yield batch
                batch = []
        yield batch

    def _add_session(self, writer: sqlite3.Connection, row: Row) -> bool:
        """Returns whether it was added without an end."""
        row = {**row, "began_lived": min(row["began_lived"], self.now)}
        # A time in the future would move the count of elapsed seconds forward.
        if row["ended_lived"] is not None:
            row["ended_lived"] = min(row["ended_lived"], self.now)
        names = ", ".join(row)
        query = f"INSERT OR IGNORE INTO sessions ({names}) VALUES ({', '.join('?' * len(row))})"
        return bool(writer.execute(query, list(row.values())).rowcount) and row["ended"] is None

    @staticmethod
    def _add(writing: Callable[[], Any], batch: list[tuple[str, Row]]) -> int:
        done = 0
        with writing() as writer:
            for table, row in batch:
                row.pop("number", None)
                names, places = ", ".join(row), ", ".join("?" * len(row))
                there = "EXISTS (SELECT 1 FROM sessions WHERE id = ?)"
                values, id = list(row.values()), row["session"]
                if table == "markers":
                    there += (
                        " AND NOT EXISTS (SELECT 1 FROM markers WHERE session = ? AND at = ? AND text = ?)"
                    )
                    more = [id, id, row["at"], row["text"]]
                else:
                    more = [id]
                query = f"INSERT OR IGNORE INTO {table} ({names}) SELECT {places} WHERE {there}"
                done += writer.execute(query, values + more).rowcount * (table == "seconds")
        return done

    def _nameless_row(self, id: str) -> Row:
        """A row for a session of which only seconds are left: its date and its notice are lost."""
        words = dict.fromkeys(("notice_version", "notice_hash", "source", "link_hash"), "")
        return {
            **{"id": id, "started": 0.0, "recorded": 0.0, "ended": None, "ending": "", "clock_set": 0},
            **{"began_lived": self.began, "ended_lived": None, "people": 1, **words},
            **{"label": "salvaged", "note": "The date, and the notice people agreed to, are lost."},
        }


def _drop_half_an_end(row: Row) -> None:
    """Treat a session with only one of its two end times as open: it is closed by its last row."""
    if (row.get("ended") is None) != (row.get("ended_lived") is None):
        row |= {"ended": None, "ended_lived": None}


def _as_real(row: Row) -> None:
    """Convert integers in columns of reals: SQLite stores whole numbers as integers."""
    for name in _REAL:
        if type(row.get(name)) is int:
            row[name] = float(row[name])


class _Stopped(Exception):
    """The appliance is stopping: the next start does the rest."""


class BackgroundSalvage:
    """Salvages files set aside, one after the other, in a thread, while the appliance records."""

    def __init__(
        self,
        pending: Callable[[], list[Path]],
        salvage: Callable[[Path, Callable[[float], object]], SalvageResult],
        done: Callable[..., object],
    ) -> None:
        """`pending` lists the remaining files.

        `salvage` salvages one, calls its second argument with the seconds to pause, and raises `OSError` and
        `StoreError`. `done` gets the path, and `sessions` and `rows` as keywords.
        """
        self._pending, self._salvage, self._done = pending, salvage, done
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._due = 0.0

    def start(self) -> None:
        """Start with the pending files, unless it is running, was tried recently, or `stop` was called."""
        if time.monotonic() < self._due or self._stop.is_set():
            return
        if self._thread is None or not self._thread.is_alive():
            self._due = time.monotonic() + RETRY_S
            self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop after the current batch of rows. May be called twice."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _run(self) -> None:
        try:
            for path in self._pending():
                if path.is_symlink() or not path.is_file():  # such as a pipe; or an erasure has removed it
                    self._done(path, sessions=0, rows=0)
                    continue
                result = self._salvage(path, self._pause)
                log.warning(
                    "%s: %d rows of %d sessions were salvaged, %d of these without date and notice",
                    *(path.name, result.rows, result.sessions, result.nameless),
                )
                self._done(path, sessions=result.sessions, rows=result.rows)
        except _Stopped:
            return
        except (OSError, ValueError) as error:
            log.error("the damaged records could not be salvaged (%s); retrying later", error)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped
