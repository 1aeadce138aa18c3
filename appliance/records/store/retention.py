"""Files beside the records that are too old: copies, files set aside, exports and backups."""

from __future__ import annotations

import logging
from pathlib import Path

from appliance.records.store import database
from appliance.records.store.ages import Ages
from appliance.records.store.copies import Copies

log = logging.getLogger("appliance.store")


def sweep_files(folder: Path, copies: Copies, ages: Ages, limit: float) -> list[Path]:
    """Remove what began before `limit`, in seconds lived; returns what was too old."""
    names = {str(path.relative_to(folder)): path for path in copies.all()}
    ages.files = {name: at for name, at in ages.files.items() if name in names}
    ages.salvaged &= set(names)
    old = [path for name, path in names.items() if ages.begun(name) <= limit]
    backups = [path for path in copies.old_backups(limit) if path not in old]
    for path in [*old, *backups]:
        try:
            if path in backups:
                path.unlink()
            else:
                database.remove(path)
        except OSError as error:
            log.error("%s is too old and cannot be removed: %s", path, error)
    return [*old, *backups]
