"""Records changes of version or settings since the last start in the audit log.

Changes on the page are recorded immediately; changes of files, environment, command line and version are
detected here, at the next start.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.audit import AuditLog
from appliance.errors import StoreError
from appliance.system.files import write_private

log = logging.getLogger("appliance.changes")

WHO = "configuration"
LAST_START_FILE = "last-start.json"
"""File in the state directory with the version and settings of the last start."""


def record_changes(
    effective: Mapping[str, Mapping[str, Any]], folder: Path, audit: AuditLog, version: str = __version__
) -> None:
    """Compare version and settings with those of the last start, and record the differences.

    `effective`: section -> key -> value; only names of keys are recorded. Best effort: failures are logged.
    """
    settings = {
        f"{section}.{key}": json.loads(json.dumps(value))
        for section, table in effective.items()
        for key, value in table.items()
    }
    now, before = {"version": version, "settings": settings}, _read_last(folder / LAST_START_FILE)
    if now == before:
        return
    try:
        if before:
            _record_differences(before, now, audit)
        write_private(folder / LAST_START_FILE, json.dumps(now, indent=1, sort_keys=True).encode() + b"\n")
    except StoreError as error:
        log.error("changes since the last start are missing in the audit log: %s", error)


def _record_differences(before: dict[str, Any], now: dict[str, Any], audit: AuditLog) -> None:
    if before["version"] != now["version"]:
        audit.require("update", WHO, before=str(before["version"]), now=now["version"])
    was, new = before["settings"], now["settings"]
    changed = sorted(key for key in new.keys() & was.keys() if new[key] != was[key])
    if before["version"] == now["version"]:  # another version may have other settings
        changed = sorted({*changed, *(new.keys() ^ was.keys())})
    if changed:
        audit.require("settings", WHO, changed=", ".join(changed))


def _read_last(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_bytes())
        sound = isinstance(table["settings"], dict) and "version" in table
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return {}
    return dict(table) if sound else {}
