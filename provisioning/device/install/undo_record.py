"""Records system settings before the installer changes them, so that --uninstall restores them."""

from __future__ import annotations

import json
from pathlib import Path

from device.system.files import replacing


class UndoRecord:
    """A small JSON file: groups that were created, the old name of the device, installed files."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> str:
        """The value of a key, "" without one."""
        return self._all().get(key, "")

    def set_default(self, key: str, value: str) -> None:
        """Record a value unless there is one: only the first is the original."""
        if key not in self._all():
            self.set(key, value)

    def set(self, key: str, value: str) -> None:
        """Record a value, replacing another."""
        with replacing(self._path, "{}.part") as partial:
            partial.write_text(json.dumps({**self._all(), key: value}, indent=1) + "\n", encoding="utf-8")

    def _all(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}
