"""`page.toml` in the state directory: the settings that the page may change.

The service may write this file, so only its `PAGE_KEYS` are used; see
docs/decisions/0060-root-and-the-service.md.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from appliance.errors import ConfigError, StoreError
from appliance.system.files import write_private
from appliance.system.toml import dump_toml, read_toml

PAGE_FILE = "page.toml"

PAGE_KEYS = frozenset({"lawful.region", "lawful.purpose", "lawful.institution"})
"""The keys that the page may set; other keys in its file are ignored. Only choices, switches and limited
numbers belong here: never a key that names a file, library, model, URL, address, port or command."""


class PageFile:
    """Writes single settings atomically and leaves the others unchanged."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / PAGE_FILE
        self._lock = threading.Lock()

    def save(self, section: str, values: Mapping[str, Any]) -> None:
        """Set these keys, all in `PAGE_KEYS`; raises `StoreError` if the file cannot be read or written.

        A file that is not TOML stays unchanged.
        """
        if unknown := {f"{section}.{key}" for key in values} - PAGE_KEYS:
            raise ValueError(f"the page may not set {', '.join(sorted(unknown))}; expected one of PAGE_KEYS")
        with self._lock:
            try:
                tables = read_toml(self.path) if self.path.exists() else {}
                tables[section] = {**tables.get(section, {}), **values}
                content = dump_toml(tables).encode()
            except ConfigError as error:
                raise StoreError(str(error)) from error
            except OSError as error:
                raise StoreError(
                    f"{self.path}: cannot be read ({error.strerror}); correct its permissions"
                ) from error
            write_private(self.path, content)
