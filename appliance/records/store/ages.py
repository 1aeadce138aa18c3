"""What must outlive the database: the seconds lived, the age of the oldest row and of files beside it."""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path

from appliance.errors import StoreError
from appliance.records.store.clocks import LONGEST_LIVED_S, LONGEST_OFF_S, Clocks, Lived
from appliance.system.files import write_private

log = logging.getLogger("appliance.store")


class Ages:
    """Kept in a small file, written as a whole; when it is lost the count begins at what the rows say."""

    def __init__(self, path: Path, clocks: Clocks) -> None:
        self._path, self._clocks = path, clocks
        self._lived = Lived()
        self._loaded = self._known = False
        self.oldest: float | None = None
        """Seconds lived at which the oldest row was written, None without any."""
        self.files: dict[str, float] = {}
        """File name to the seconds lived that count as its beginning."""
        self.salvaged: set[str] = set()
        """Names of files set aside of which everything readable was taken in."""

    def load(self) -> None:
        """Read the file, unless that was done already."""
        if self._loaded:
            return
        self._loaded = self._known = True
        try:
            table = json.loads(self._path.read_bytes())
            self._lived = Lived.parse(table)
            self.files = {str(name): float(at) for name, at in dict(table.get("files", {})).items()}
            self.salvaged = set(map(str, table.get("salvaged", [])))
            self.oldest = None if table.get("oldest") is None else float(table["oldest"])
            if not all(map(math.isfinite, (*self.files.values(), self.oldest or 0.0))):
                raise ValueError("an age is not finite")
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if os.path.lexists(self._path):
                log.warning("%s cannot be read (%s): ages are counted anew", self._path, error)
            self._lived, self._known = Lived.begin(self._clocks), False
            self.oldest, self.files = None, {}

    def forget(self) -> None:
        """Read the file anew when it is needed next: another process may write it meanwhile."""
        self._loaded = False

    def at_least(self, floor: float) -> None:
        """The count is never behind the newest row's seconds lived, if that can be.

        One damaged byte in a row would otherwise make all others too old.
        """
        self.load()
        if floor > self._lived.lived + (LONGEST_OFF_S if self._known else LONGEST_LIVED_S):
            log.warning(
                "a record is said to be of %.0f days ahead: not believed",
                (floor - self._lived.lived) / 86_400,
            )
            return
        self._lived.lived = max(self._lived.lived, floor)

    def now(self) -> float:
        """Seconds lived up to now."""
        self.load()
        return self._lived.update(self._clocks)

    def begun(self, name: str, at: float | None = None) -> float:
        """When a file began, in seconds lived; one never seen before begins `at`, or now."""
        if name not in self.files:
            self.files[name] = self.now() if at is None else at
        return self.files[name]

    def save(self) -> None:
        """Write it down; a full disk loses the last minutes of the count, nothing else."""
        self.now()
        table = {
            **self._lived.as_json(),
            "oldest": self.oldest,
            "files": self.files,
            "salvaged": sorted(self.salvaged),
        }
        try:
            write_private(self._path, json.dumps(table).encode())
        except StoreError as error:
            log.warning("%s", error)
