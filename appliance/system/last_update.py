"""What the last update of the software came to: written by the updater, shown on the page."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.system.files import write_private

OUTCOMES = ("updated", "rolled back", "failed", "interrupted")
"""How an update ends. After the last two the version is the one from before."""


@dataclass(frozen=True)
class LastUpdate:
    """`version` runs since then, `wanted` was to run. `time`: UTC. `reason`: why it failed."""

    version: str
    wanted: str
    outcome: str
    time: str
    reason: str = ""

    @property
    def worked(self) -> bool:
        """Whether the version changed."""
        return self.outcome in OUTCOMES[:2]

    def words(self) -> str:
        """One line for the page."""
        day = self.time.replace("T", " ")[:16]
        if self.worked:
            return f"{self.outcome} to {self.version}, {day} UTC"
        return f"to {self.wanted}, {day} UTC: {self.outcome}, {self.version} runs on ({self.reason})"


def keep(folder: Path, last: LastUpdate) -> None:
    """Write it down in the state directory, whole or not at all; raises `StoreError`."""
    write_private(_path(folder), json.dumps(asdict(last), indent=1).encode() + b"\n")


def read(folder: Path) -> LastUpdate | None:
    """The last one; None if there was none, or what is there cannot be read."""
    try:
        table = json.loads(_path(folder).read_bytes())
        last = LastUpdate(**{name: str(table[name]) for name in LastUpdate.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return last if last.outcome in OUTCOMES else None


def _path(folder: Path) -> Path:
    return folder / "update.json"
