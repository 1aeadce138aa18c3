"""The log of erasures: ids and times in a file next to the records, so that a restore brings nothing back."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from appliance.errors import StoreError
from appliance.system.files import sync_directory


class ErasureLog:
    """Append-only, one JSON object a line.

    An `id` is written before its rows are erased, so that a crash loses no erasure, and `done` when no copy
    contains it any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def ids(self) -> set[str]:
        """Every id that was ever erased."""
        return {str(entry["id"]) for entry in self._entries() if "id" in entry}

    def unfinished(self) -> set[str]:
        """Ids whose erasure was started but not finished."""
        left = set()
        for entry in self._entries():
            if "id" in entry:
                left.add(str(entry["id"]))
            left.discard(str(entry.get("done", "")))
        return left

    def begin(self, ids: set[str], at: float) -> None:
        """Record the erasure of these ids at Unix seconds `at`; synced to the disk on return.

        Raises `StoreError`.
        """
        self._append([{"id": each, "time": round(at)} for each in sorted(ids)])

    def finish(self, ids: set[str]) -> None:
        """Record that no file contains these ids any more; raises `StoreError`."""
        self._append([{"done": each} for each in sorted(ids)])

    def _append(self, entries: list[dict[str, Any]]) -> None:
        if not entries:
            return
        lines = "".join(json.dumps(entry) + "\n" for entry in entries)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(b"\n" + lines.encode())  # the line before may be unfinished
                file.flush()
                os.fsync(file.fileno())
            sync_directory(self._path.parent)  # the file may be new
        except OSError as error:
            raise StoreError(
                f"{self._path}: an erasure cannot be recorded ({error.strerror}); free some space or correct "
                "its permissions, and erase again"
            ) from error

    def _entries(self) -> Iterator[dict[str, Any]]:
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for line in lines:
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue  # a power cut left it unfinished
            if isinstance(entry, dict):
                yield entry
