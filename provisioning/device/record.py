"""What the installer found before it changed what is not its own, so that --uninstall puts it back."""

from __future__ import annotations

import json
from pathlib import Path


class Record:
    """A small JSON file: the groups that were made, the name the device had."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> str:
        """What was kept under a key, "" if nothing was."""
        try:
            return str(json.loads(self._path.read_text(encoding="utf-8")).get(key, ""))
        except (OSError, ValueError):
            return ""

    def keep(self, key: str, value: str) -> None:
        """Keep the first value that is told; a later one is not how it was at the beginning."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            kept = {}
        if key in kept:
            return
        partial = self._path.with_name(self._path.name + ".part")
        partial.write_text(json.dumps({**kept, key: value}, indent=1) + "\n", encoding="utf-8")
        partial.replace(self._path)
