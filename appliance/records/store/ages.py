"""How old a record is, by a count of elapsed seconds, kept in a file, that ignores jumps of the wall clock.

Time switched on is always counted exactly. Time switched off is counted by the wall clock, once that clock
has been consistent for a while. See docs/decisions/0011-retention.md.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import StoreError
from appliance.system.files import write_private

log = logging.getLogger("appliance.store")

TOLERANCE_S = 120.0
"""A smaller difference is not a jump: the wall clock was adjusted."""

SETTLE_S = 6 * 3600.0
"""How long, switched on, a jump must persist before it counts as elapsed time."""

LONGEST_OFF_S = 400 * 86_400.0
"""A longer jump means that the clock was set, not that the device was switched off: no time elapsed."""

MAX_ELAPSED_S = 100 * 366 * 86_400.0
"""The limit of the count of elapsed seconds: a hundred years."""

CLOCK_SET = 1_735_689_600.0
"""Unix seconds of 2025-01-01: an earlier wall clock was never set."""

_MOST_JUMPS = 64
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """An identifier that changes with each boot."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def since_boot() -> float:
    """Seconds since boot, including sleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clocks:
    """The clocks that the store reads; tests pass their own."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    since_boot: Callable[[], float] = since_boot
    boot: Callable[[], str] = boot_id


@dataclass
class ElapsedTime:
    """The count of seconds.

    `elapsed`: the count; `ran`: seconds switched on; `wall`: the wall clock expected from it; `jumps`:
    differences of the wall clock that do not count yet, each with the `ran` at which it was seen.
    """

    elapsed: float = 0.0
    ran: float = 0.0
    wall: float = 0.0
    boot: str = ""
    since_boot: float = 0.0
    jumps: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, clocks: Clocks, elapsed: float = 0.0) -> ElapsedTime:
        """A count that starts now, at `elapsed` seconds."""
        return cls(elapsed, 0.0, clocks.wall(), clocks.boot(), clocks.since_boot())

    @classmethod
    def parse(cls, table: Any) -> ElapsedTime:
        """The count in the output of `as_json`; raises `ValueError` for anything else."""
        try:
            numbers = [float(table[name]) for name in ("lived", "ran", "wall", "since_boot")]
            jumps = [(float(amount), float(since)) for amount, since in table["jumps"]]
            elapsed, ran, wall, up = numbers
            if not abs(elapsed) <= MAX_ELAPSED_S or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{elapsed!r} elapsed seconds: expected less than {MAX_ELAPSED_S:.0f}")
            return cls(elapsed, ran, wall, str(table["boot"]), up, jumps)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{table!r}: expected a count of elapsed seconds") from error

    def as_json(self) -> dict[str, Any]:
        """The input of `parse`."""
        return {
            "lived": self.elapsed,
            "ran": self.ran,
            "wall": self.wall,
            "boot": self.boot,
            "since_boot": self.since_boot,
            "jumps": self.jumps,
        }

    def update(self, clocks: Clocks) -> float:
        """Count up to now; returns the elapsed seconds."""
        boot, up = clocks.boot(), clocks.since_boot()
        # The machine has been on since boot; only the wall clock can tell how much time passed before.
        passed = max(0.0, up - self.since_boot) if boot == self.boot else up
        self.boot, self.since_boot = boot, up
        self.elapsed, self.ran, self.wall = self.elapsed + passed, self.ran + passed, self.wall + passed
        difference = clocks.wall() - self.wall - sum(amount for amount, _ in self.jumps)
        if abs(difference) <= TOLERANCE_S:
            self.wall += difference
        else:
            self._jumped(difference)
        self._settle()
        return self.elapsed

    def _jumped(self, amount: float) -> None:
        """A jump back cancels the last jumps forward, so that they do not count."""
        while self.jumps and amount * self.jumps[-1][0] < 0:
            last, since = self.jumps.pop()
            amount += last
            if amount * last > 0:  # only part of it was cancelled
                self.jumps.append((amount, since))
                return
        if abs(amount) > TOLERANCE_S:
            self.jumps.append((amount, self.ran))
        if len(self.jumps) > _MOST_JUMPS:
            (first, _), (second, since) = self.jumps[:2]
            self.jumps[:2] = [(first + second, since)]

    def _settle(self) -> None:
        while self.jumps and self.ran - self.jumps[0][1] >= SETTLE_S:
            amount, _ = self.jumps.pop(0)
            self.wall += amount
            if 0 < amount <= LONGEST_OFF_S:
                self.elapsed += amount


class Ages:
    """What must outlive the database: elapsed seconds, the age of the oldest row and of the files next to it.

    Kept in a small file, written atomically. If it is lost, the count restarts from the ages in the rows.
    """

    def __init__(self, path: Path, clocks: Clocks) -> None:
        self._path, self._clocks = path, clocks
        self._time = ElapsedTime()
        self._loaded = self._known = False
        self.oldest: float | None = None
        """Elapsed seconds at which the oldest row was written; None without rows."""
        self.files: dict[str, float] = {}
        """File names, and the elapsed seconds that count as their beginning."""
        self.salvaged: set[str] = set()
        """Names of files set aside whose readable rows are in the records now."""

    def load(self) -> None:
        """Read the file if it was not read yet."""
        if self._loaded:
            return
        self._loaded = self._known = True
        try:
            table = json.loads(self._path.read_bytes())
            self._time = ElapsedTime.parse(table)
            self.files = {str(name): float(at) for name, at in dict(table.get("files", {})).items()}
            self.salvaged = set(map(str, table.get("salvaged", [])))
            self.oldest = None if table.get("oldest") is None else float(table["oldest"])
            if not all(map(math.isfinite, (*self.files.values(), self.oldest or 0.0))):
                raise ValueError("an age is not a finite number")
        except (OSError, ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            if os.path.lexists(self._path):
                log.warning(
                    "%s cannot be read (%s): the ages are counted from the records", self._path, error
                )
            self._time, self._known = ElapsedTime.begin(self._clocks), False
            self.oldest, self.files = None, {}

    def forget(self) -> None:
        """Read the file again when it is next needed: another process may write it meanwhile."""
        self._loaded = False

    def at_least(self, floor: float) -> None:
        """Raise the count to `floor`, the elapsed seconds of the newest row, unless that is implausible.

        Otherwise one damaged byte in a row would make all other rows too old.
        """
        self.load()
        if floor > self._time.elapsed + (LONGEST_OFF_S if self._known else MAX_ELAPSED_S):
            log.warning(
                "a record is dated %.0f days in the future; its date is ignored",
                (floor - self._time.elapsed) / 86_400,
            )
            return
        self._time.elapsed = max(self._time.elapsed, floor)

    def now(self) -> float:
        """Elapsed seconds until now."""
        self.load()
        return self._time.update(self._clocks)

    def begun(self, name: str, at: float | None = None) -> float:
        """When a file began, in elapsed seconds; a new one begins `at`, or now."""
        if name not in self.files:
            self.files[name] = self.now() if at is None else at
        return self.files[name]

    def save(self) -> None:
        """Write the file; a full disk loses only the last minutes of the count."""
        self.now()
        table = {
            **self._time.as_json(),
            "oldest": self.oldest,
            "files": self.files,
            "salvaged": sorted(self.salvaged),
        }
        try:
            write_private(self._path, json.dumps(table).encode())
        except StoreError as error:
            log.warning("%s", error)
