"""Files next to the records: copies made before migrations, damaged files set aside, exports and backups."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from pathlib import Path

from appliance.errors import StoreError
from appliance.records.backup import read_header
from appliance.records.store import database
from appliance.records.store.ages import Ages
from appliance.system.files import partial_path, sync_directory

log = logging.getLogger("appliance.store")

EXPORTS = "exports"
"""Folder in the state directory for exports and backups on the device; retention applies to them."""


class Copies:
    """Finds these files, erases sessions in them, and removes those that are too old."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backups = folder / "backups.jsonl"

    def free_path(self, kind: str, stamp: str) -> Path:
        """An unused path, such as `records.damaged-20261123T101500.db`."""
        path, number = self._folder / f"records.{kind}-{stamp}.db", 1
        while os.path.lexists(path):
            path, number = self._folder / f"records.{kind}-{stamp}-{number}.db", number + 1
        return path

    def databases(self) -> list[Path]:
        """Copies made before migrations, and files set aside."""
        found = [*self._folder.glob("records.before-*.db"), *self._folder.glob("records.damaged-*.db")]
        return sorted(found)

    def damaged(self) -> list[Path]:
        """The damaged files set aside."""
        return sorted(self._folder.glob("records.damaged-*.db"))

    def all(self) -> list[Path]:
        """All files that retention applies to."""
        return [*self.databases(), *self._exports()]

    def any(self) -> bool:
        """Whether any file might contain a session."""
        return bool(self.all() or self._known_backups())

    def erase(self, ids: set[str]) -> None:
        """Erase these sessions in every copy; raises `StoreError` if one cannot be written or removed.

        Removes a damaged database entirely, and also an export or a backup that contains one of the sessions.
        """
        faults = []
        for path in [*self.databases(), *sorted({*self._exports(), *self._known_backups()})]:
            try:
                self._erase_in(path, ids)
            except OSError as error:  # continue with the others
                faults.append(f"{path}: {error.strerror}")
        if faults:
            raise StoreError(f"not erased: {'; '.join(faults)}; correct the permissions and erase again")

    @staticmethod
    def _erase_in(path: Path, ids: set[str]) -> None:
        if path.suffix == ".db" and path.name.startswith("records."):
            if not _erase_rows(path, ids):
                log.warning("removed %s: a session was erased, and this file cannot be edited", path.name)
                database.remove(path)
        elif _holds(path, ids):
            path.unlink(missing_ok=True)
            sync_directory(path.parent)
            log.warning("removed %s: it contains a session that was erased", path.name)

    def note_backup(self, path: Path, made: float) -> None:
        """Remember where a backup is written and when it was made, so that erasing and retention reach it.

        Raises `OSError`.
        """
        line = json.dumps({"path": str(path.absolute()), "made": made}) + "\n"
        descriptor = os.open(self._backups, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(line)

    def old_backups(self, limit: float) -> list[Path]:
        """Known backups made at `limit` elapsed seconds or before: everything in them is too old."""
        old = []
        for path, made in self._noted().items():
            with contextlib.suppress(OSError):
                header = read_header(path)
                # The path may now contain another device's backup, whose elapsed seconds differ.
                if header is not None and header["made"] in made and header["lived"] <= limit:
                    old.append(path)
        return old

    def sweep(self, ages: Ages, limit: float) -> list[Path]:
        """Remove files that began at `limit` elapsed seconds or before; returns those that were too old."""
        names = {str(path.relative_to(self._folder)): path for path in self.all()}
        ages.files = {name: at for name, at in ages.files.items() if name in names}
        ages.salvaged &= set(names)
        old = [path for name, path in names.items() if ages.begun(name) <= limit]
        backups = [path for path in self.old_backups(limit) if path not in old]
        for path in [*old, *backups]:
            try:
                if path in backups:
                    path.unlink()
                else:
                    database.remove(path)
            except OSError as error:
                log.error("%s is too old and cannot be removed: %s", path, error)
        return [*old, *backups]

    def _known_backups(self) -> list[Path]:
        return sorted(self._noted())

    def _noted(self) -> dict[Path, set[float]]:
        """Paths of backups that still exist, and when they were made."""
        noted: dict[Path, set[float]] = {}
        with contextlib.suppress(OSError):
            for line in self._backups.read_text("utf-8", "replace").splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError, OverflowError, RecursionError):
                    entry = json.loads(line)
                    path = Path(entry["path"])
                    for each in (path, partial_path(path)):  # a power cut may have left only part of it
                        noted.setdefault(each, set()).add(float(entry.get("made", -1.0)))
        # Also False without permission: a sandbox hides other folders, where Path.is_file raises.
        return {path: made for path, made in noted.items() if os.path.isfile(path)}

    def _exports(self) -> list[Path]:
        return sorted(path for path in (self._folder / EXPORTS).rglob("*") if path.is_file())


def stamp(wall: float) -> str:
    """Unix seconds as they appear in file names."""
    return time.strftime("%Y%m%dT%H%M%S", time.gmtime(wall))


def _erase_rows(path: Path, ids: set[str]) -> bool:
    """Erase sessions in a database; returns whether it is intact and contains none of them now."""
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
    header = read_header(path)
    if header is not None:
        return not ids.isdisjoint(map(str, header["ids"]))
    content = path.read_bytes()
    return any(each in path.name or each.encode() in content for each in ids)
