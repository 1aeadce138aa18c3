"""Salvage in the background: files set aside, one after the other, while the appliance records on."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import StoreError
from appliance.records.store.records_file import Holder
from appliance.records.store.salvage import Salvage, Salvaged

log = logging.getLogger("appliance.store")

AGAIN_S = 60.0
"""Seconds until a failed salvage, for want of room say, is tried again."""


class _Stopped(Exception):
    """The appliance stops: the next start does the rest."""


class Salvager:
    """The store's lock is held for a batch of rows at a time."""

    def __init__(self, held: Holder) -> None:
        self._held = held
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._due = 0.0

    def tick(self) -> None:
        """Begin with what was set aside and is not salvaged yet; the owner's business alone."""
        if not self._held.unsalvaged or time.monotonic() < self._due or self._stop.is_set():
            return
        if self._thread is None or not self._thread.is_alive():
            self._due = time.monotonic() + AGAIN_S
            self._thread = threading.Thread(target=self._run, name="salvage", daemon=True)
            self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Wait for the end; says whether everything is salvaged."""
        if self._thread is not None:
            self._thread.join(timeout)
        return not self._held.unsalvaged

    def stop(self) -> None:
        """End it within a batch. May be called twice."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def salvage(self, file: Path, pause: Callable[[float], object] = time.sleep) -> Salvaged:
        """What can be read of a damaged file, taken in. Raises `OSError`, `StoreError`."""
        held = self._held
        now = held.ages.now()
        began = min(now, held.ages.files.get(file.name, now))
        limit = now - held.limits.keep_s
        found = Salvage(file, began, now, limit, held.journal.ids, lambda: held.running, pause)
        return found.into(self._batch)

    @contextmanager
    def _batch(self) -> Iterator[sqlite3.Connection]:
        held = self._held
        with held.lock:
            if lack := held.lack():
                raise StoreError(lack)
            with held.writing(held.opened()) as connection:
                yield connection

    def _run(self) -> None:
        held = self._held
        try:
            for path in [held.folder / name for name in sorted(held.unsalvaged)]:
                if path.is_symlink() or not path.is_file():  # a pipe, say; or an erasure has removed it
                    held.mark_salvaged(path, sessions=0, rows=0)
                    continue
                done = self.salvage(path, self._pause)
                log.warning(
                    "%s: %d rows of %d sessions were salvaged, %d of these without date and notice",
                    *(path.name, done.rows, done.sessions, done.nameless),
                )
                held.mark_salvaged(path, sessions=done.sessions, rows=done.rows)
        except _Stopped:
            return
        except (OSError, ValueError) as error:
            log.error("what was set aside is not salvaged yet (%s); it is tried again", error)

    def _pause(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _Stopped
