"""Clocks that a test controls, a store that uses them, and rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.records import Clocks, Second, StorageLimits, Store
from appliance.values import EMOTIONS, SessionInfo

DAY_S = 86_400.0
NOW = 1_795_000_000.0  # in November 2026
ID, OTHER = "0123456789ab", "ba9876543210"


@dataclass
class Time:
    """The wall clock and the time since boot, separately."""

    wall: float = NOW
    up: float = 50.0
    boots: int = 1

    def passes(self, seconds: float) -> None:
        """Time passes with the device switched on and a correct clock."""
        self.wall, self.up = self.wall + seconds, self.up + seconds

    def switched_off(self, seconds: float) -> None:
        """The device is off for this long, then starts again."""
        self.wall, self.up, self.boots = self.wall + seconds, 0.0, self.boots + 1

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.wall, lambda: self.up, lambda: self.up, lambda: f"boot {self.boots}")


def make_store(folder: Path, time: Time | None = None, **more: Any) -> Store:
    """A store with plenty of disk space by default."""
    limits = more.pop("limits", StorageLimits())
    more.setdefault("free_mb", lambda path: 1e6)
    return Store(folder, limits, clocks=(time or Time()).clocks(), **more)


def session_info(id: str = ID, **more: Any) -> SessionInfo:
    return SessionInfo(id, NOW, 1, "1", "a" * 64, "usb", **more)


def second(number: int, person: int = 1, **more: Any) -> Second:
    """A readable second: ten frames, nine of them in the means."""
    means = dict.fromkeys(EMOTIONS, 0.125) | {"happy": 0.25}
    values: dict[str, Any] = {**means, "frames": 10, "scored": 9, "skipped": 2, "small": 1}
    return Second(person, number, **{**values, **more})


def record(store: Store, time: Time, id: str = ID, seconds: int = 3, *, end: bool = True) -> None:
    """Record a session of this many seconds."""
    store.begin(session_info(id))
    for number in range(seconds):
        time.passes(1.0)
        store.add(id, [second(number)])
    if end:
        store.end(id)


def everything(folder: Path) -> bytes:
    """Every byte of every file in a folder."""
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
