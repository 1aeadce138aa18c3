"""The updater's memory across a kill or a power cut: what it changes, and how far it has come."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from device.errors import ReleaseError, explain
from device.system.files import replacing
from device.update.releases import sync_folder

CHANGING = "changing.json"
"""The file's name, beside the releases."""


@dataclass(frozen=True)
class Change:
    """From one version to another. `kind`: "update" or "rollback"; `step`: the one that was begun last.

    `undo`: why it is taken back, "" if not; `outcome`: as what that is told. `added`: the release came with
    it and goes if it is taken back.
    """

    kind: str
    old: str
    new: str
    step: str = ""
    undo: str = ""
    outcome: str = ""
    added: bool = False


class Journal:
    """One small file, there only while something is being changed; on the disk before anything is done."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Change | None:
        """What was begun and not ended, None if nothing was; raises `ReleaseError`."""
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
            # Another version may have written it: it may know more than this one.
            return Change(**{name: told[name] for name in Change.__dataclass_fields__ if name in told})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise ReleaseError(
                f"{self._path}: cannot be read ({error}); remove it and update again"
            ) from error

    def write(self, change: Change, **changes: str | bool) -> Change:
        """Keep a change with these new values; raises `ReleaseError`."""
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
        """Nothing is being changed any more."""
        self._path.unlink(missing_ok=True)
        sync_folder(self._path.parent)
