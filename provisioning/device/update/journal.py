"""Journal of a change, for recovery after a kill or a power cut."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from device.errors import ReleaseError, explain
from device.system.files import replacing
from device.update.releases import sync_folder

CHANGING = "changing.json"
"""The file's name, next to the releases."""


@dataclass(frozen=True)
class Change:
    """A change from one version to another. `kind`: "update" or "rollback"; `step`: the last one begun.

    `undo`: why it is rolled back, "" if it is not; `outcome`: the result to report. `added`: whether the
    change installed the new release, which a rollback then removes.
    """

    kind: str
    old: str
    new: str
    step: str = ""
    undo: str = ""
    outcome: str = ""
    added: bool = False


class Journal:
    """One small file, which exists only during a change and is synced before each step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Change | None:
        """The unfinished change, None without one; raises `ReleaseError`."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            # Another version may have written it, with further keys.
            return Change(**{name: data[name] for name in Change.__dataclass_fields__ if name in data})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ReleaseError(
                f"{self._path}: cannot be read ({error}); remove it and update again"
            ) from error

    def write(self, change: Change, **changes: str | bool) -> Change:
        """Write a change with these new values; raises `ReleaseError`."""
        change = replace(change, **changes)  # type: ignore[arg-type]  # names and kinds are those of Change
        try:
            with replacing(self._path, "{}.part") as partial, partial.open("w", encoding="utf-8") as file:
                json.dump(asdict(change), file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(self._path.parent)
        except OSError as error:
            raise ReleaseError(f"{self._path}: cannot be written: {explain(error)}") from error
        return change

    def clear(self) -> None:
        """Remove the journal: the change is complete."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)
