"""Settings that changed in files, environment or command line since the last start: into the audit log.

What the page changes is written there at once; the rest is only seen by the next start, here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.audit import AuditLog
from appliance.errors import StoreError
from appliance.files import write_private

log = logging.getLogger("appliance.changes")

WHO = "configuration"
NAME = "settings.json"
"""File in the state directory with the settings of the last start."""


def note_changes(effective: Mapping[str, Mapping[str, Any]], folder: Path, audit: AuditLog) -> None:
    """Compare the settings in force, by section and key, with those of the last start; names only are told.

    A state directory that cannot be written is not this function's business: it is only logged.
    """
    now = {
        f"{section}.{key}": json.loads(json.dumps(value))
        for section, table in effective.items()
        for key, value in table.items()
    }
    before = _last(folder / NAME)
    changed = sorted(key for key in now.keys() | before.keys() if now.get(key) != before.get(key))
    if not changed:
        return
    try:
        if before:
            audit.append("settings", WHO, changed=", ".join(changed))
        write_private(folder / NAME, json.dumps(now, indent=1, sort_keys=True).encode() + b"\n")
    except StoreError as error:
        log.error("changed settings (%s) are missing in the audit log: %s", ", ".join(changed), error)


def _last(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
