"""The outcome of the last software update: written by the updater, shown on the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.system.files import write_private

OUTCOMES = ("updated", "rolled back", "failed", "interrupted")
"""How an update can end. After the last two the earlier version is running."""


@dataclass(frozen=True)
class LastUpdate:
    """`version` has run since; `wanted` was the target. `time`: UTC, ISO 8601. `reason`: why it failed."""

    version: str
    wanted: str
    outcome: str
    time: str
    reason: str = ""

    @property
    def worked(self) -> bool:
        """Whether another version has run since then."""
        return self.outcome in OUTCOMES[:2]

    def summary(self) -> str:
        """One line for the page."""
        day = self.time.replace("T", " ")[:16]
        if self.worked:
            return f"{self.outcome} to {self.version}, {day} UTC"
        return f"to {self.wanted}, {day} UTC: {self.outcome}, {self.version} is still running ({self.reason})"


def save_last_update(folder: Path, last: LastUpdate) -> None:
    """Save it in the state directory; raises `StoreError`."""
    write_private(_path(folder), json.dumps(asdict(last), indent=1).encode() + b"\n")


def read_last_update(folder: Path) -> LastUpdate | None:
    """The last update; None if there was none or its file cannot be read."""
    try:
        table = json.loads(_path(folder).read_bytes())
        last = LastUpdate(**{name: str(table[name]) for name in LastUpdate.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return last if last.outcome in OUTCOMES else None


def _path(folder: Path) -> Path:
    return folder / "update.json"
