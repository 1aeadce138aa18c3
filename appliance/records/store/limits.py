"""How much is kept and for how long, and how the records are in words."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Status:
    """How the records are: `ok`, `full`, `failed`, `read_only` or `set_aside`, and why in words."""

    state: str = "ok"
    reason: str | None = None


@dataclass(frozen=True)
class Limits:
    """How long rows are kept, and how much of the disk stays free, in 10^6 bytes."""

    keep_days: int = 7
    min_free_mb: int = 200

    @property
    def keep_s(self) -> float:
        """Seconds for which rows are kept."""
        return self.keep_days * 86_400.0


def free_mb(folder: Path) -> float:
    """Free room on the disk of a folder, in 10^6 bytes; the folder need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free / 1e6
