"""What the installer found before it changed what is not its own, so that --uninstall puts it back."""

from __future__ import annotations

import json
from pathlib import Path

from device.system.files import replacing


class UndoRecord:
    """A small JSON file: the groups that were made, the name the device had, the files that were placed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> str:
        """What was kept under a key, "" if nothing was."""
        return self._all().get(key, "")

    def set_default(self, key: str, value: str) -> None:
        """Keep the first value that is told; a later one is not how it was at the beginning."""
        if key not in self._all():
            self.set(key, value)

    def set(self, key: str, value: str) -> None:
        """Keep this value, in place of another."""
        with replacing(self._path, "{}.part") as partial:
            partial.write_text(json.dumps({**self._all(), key: value}, indent=1) + "\n", encoding="utf-8")

    def _all(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}
