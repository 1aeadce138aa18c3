"""Files beside the records: copies made before migrations, damaged files set aside, exports and backups."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path

from appliance.errors import StoreError
from appliance.records.backup import header_of
from appliance.records.store import database
from appliance.system.files import partial_of, sync_folder

log = logging.getLogger("appliance.store")

EXPORTS = "exports"
"""Folder in the state directory for exports and backups that are kept on the device: they are swept."""


class Copies:
    """Finds them all, erases a session in each, and removes them when they are too old."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backups = folder / "backups.jsonl"

    def name(self, kind: str, stamp: str) -> Path:
        """A path that is free, as in `records.damaged-20261123T101500.db`."""
        path, number = self._folder / f"records.{kind}-{stamp}.db", 1
        while os.path.lexists(path):
            path, number = self._folder / f"records.{kind}-{stamp}-{number}.db", number + 1
        return path

    def databases(self) -> list[Path]:
        """Copies made before migrations, and files set aside."""
        found = [*self._folder.glob("records.before-*.db"), *self._folder.glob("records.damaged-*.db")]
        return sorted(found)

    def damaged(self) -> list[Path]:
        """Only the files set aside."""
        return sorted(self._folder.glob("records.damaged-*.db"))

    def all(self) -> list[Path]:
        """Everything that retention counts."""
        return [*self.databases(), *self._exports()]

    def any(self) -> bool:
        """Whether there is a file that might hold a session."""
        return bool(self.all() or self._known_backups())

    def erase(self, ids: set[str]) -> None:
        """No copy holds these sessions any more; raises `StoreError` when one cannot be written or removed.

        A damaged database is removed as a whole, and so is an export or a backup that holds one of them.
        """
        faults = []
        for path in [*self.databases(), *sorted({*self._exports(), *self._known_backups()})]:
            try:
                self._erase_in(path, ids)
            except OSError as error:  # and the others all the same
                faults.append(f"{path}: {error.strerror}")
        if faults:
            raise StoreError(f"not erased: {'; '.join(faults)}; correct their rights and erase again")

    @staticmethod
    def _erase_in(path: Path, ids: set[str]) -> None:
        if path.suffix == ".db" and path.name.startswith("records."):
            if not _erased(path, ids):
                log.warning("%s is removed: a session was erased and it cannot be edited", path.name)
                database.remove(path)
        elif _holds(path, ids):
            path.unlink(missing_ok=True)
            sync_folder(path.parent)
            log.warning("%s is removed: it holds a session that was erased", path.name)

    def note_backup(self, path: Path, made: float) -> None:
        """Remember where a backup is written, and the second it says, so that erasing and sweeping reach it.

        Raises `OSError`.
        """
        line = json.dumps({"path": str(path.absolute()), "made": made}) + "\n"
        descriptor = os.open(self._backups, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(line)

    def old_backups(self, limit: float) -> list[Path]:
        """Backups of ours, wherever they lie, of this second lived or before: all in them is too old."""
        old = []
        for path, made in self._noted().items():
            with contextlib.suppress(OSError):
                header = header_of(path)
                # Another file may lie there by now, of another device, whose seconds are others.
                if header is not None and header["made"] in made and header["lived"] <= limit:
                    old.append(path)
        return old

    def _known_backups(self) -> list[Path]:
        return sorted(self._noted())

    def _noted(self) -> dict[Path, set[float]]:
        """Where backups were written and still lie, and when they were made."""
        noted: dict[Path, set[float]] = {}
        with contextlib.suppress(OSError):
            for line in self._backups.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
                    entry = json.loads(line)
                    path = Path(entry["path"])
                    for each in (path, partial_of(path)):  # a power cut may have left only a part of it
                        noted.setdefault(each, set()).add(float(entry.get("made", -1.0)))
        # False also where we may not look: a sandbox hides other places, and Path.is_file raises there.
        return {path: made for path, made in noted.items() if os.path.isfile(path)}

    def _exports(self) -> list[Path]:
        return sorted(path for path in (self._folder / EXPORTS).rglob("*") if path.is_file())


def stamp(wall: float) -> str:
    """A time in Unix seconds as names of files have it."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(wall))


def _erased(path: Path, ids: set[str]) -> bool:
    """Whether a database is sound and holds none of these sessions now."""
    if not path.is_file():
        return False
    try:
        with contextlib.closing(database.connect(path)) as connection:
            for table, column in database.BY_SESSION:
                connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", [(each,) for each in ids])
            database.check(connection)
            return database.truncate_log(connection)
    except database.FAULTS:
        return False


def _holds(path: Path, ids: set[str]) -> bool:
    header = header_of(path)
    if header is not None:
        return not ids.isdisjoint(map(str, header["ids"]))
    content = path.read_bytes()
    return any(each in path.name or each.encode() in content for each in ids)
