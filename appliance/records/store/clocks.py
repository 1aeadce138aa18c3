"""How old a record is, told by a count of our own that no jump of the wall clock moves.

The count is of seconds lived: time switched on counts always and exactly; time switched off counts as the
wall clock tells it, once that clock has kept to it for a while. See docs/decisions/0011-retention.md.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TOLERANCE_S = 120.0
"""A wall clock that differs by less has not jumped: it was corrected a little."""

SETTLE_S = 6 * 3600.0
"""So long, switched on, a jump must stand before it counts as time that passed."""

LONGEST_OFF_S = 400 * 86_400.0
"""A longer jump is a clock that was set, not a device that was switched off: no time passed."""

LONGEST_LIVED_S = 100 * 366 * 86_400.0
"""No count of seconds lived is beyond a hundred years."""

CLOCK_SET = 1_735_689_600.0
"""Unix seconds of 2025-01-01: a wall clock before it was never set."""

_MOST_JUMPS = 64
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """A word that is another one after each start of the machine."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


def since_boot() -> float:
    """Seconds since the machine was started, sleep included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Clocks:
    """The clocks that the store reads; tests give their own."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    since_boot: Callable[[], float] = since_boot
    boot: Callable[[], str] = boot_id


@dataclass
class Lived:
    """The count. `wall` is where the wall clock should be by it; `jumps` are differences on probation."""

    lived: float = 0.0
    ran: float = 0.0
    wall: float = 0.0
    boot: str = ""
    since_boot: float = 0.0
    jumps: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def begin(cls, clocks: Clocks, lived: float = 0.0) -> Lived:
        """A count that begins now, at so many seconds."""
        return cls(lived, 0.0, clocks.wall(), clocks.boot(), clocks.since_boot())

    @classmethod
    def parse(cls, table: Any) -> Lived:
        """From `as_json`; raises `ValueError` for anything else."""
        try:
            numbers = [float(table[name]) for name in ("lived", "ran", "wall", "since_boot")]
            jumps = [(float(amount), float(since)) for amount, since in table["jumps"]]
            lived, ran, wall, up = numbers
            if not abs(lived) <= LONGEST_LIVED_S or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{lived!r} seconds lived: expected less than {LONGEST_LIVED_S:.0f}")
            return cls(lived, ran, wall, str(table["boot"]), up, jumps)
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"{table!r}: expected a count of seconds lived") from error

    def as_json(self) -> dict[str, Any]:
        """For `parse`."""
        return {
            "lived": self.lived,
            "ran": self.ran,
            "wall": self.wall,
            "boot": self.boot,
            "since_boot": self.since_boot,
            "jumps": self.jumps,
        }

    def update(self, clocks: Clocks) -> float:
        """Count up to now; returns the seconds lived."""
        boot, up = clocks.boot(), clocks.since_boot()
        # After a new start of the machine it has been on since then; before, the wall clock must tell.
        passed = max(0.0, up - self.since_boot) if boot == self.boot else up
        self.boot, self.since_boot = boot, up
        self.lived, self.ran, self.wall = self.lived + passed, self.ran + passed, self.wall + passed
        difference = clocks.wall() - self.wall - sum(amount for amount, _ in self.jumps)
        if abs(difference) <= TOLERANCE_S:
            self.wall += difference
        else:
            self._jumped(difference)
        self._settle()
        return self.lived

    def _jumped(self, amount: float) -> None:
        """A clock that jumps back takes away what the last jumps forward would have counted."""
        while self.jumps and amount * self.jumps[-1][0] < 0:
            last, since = self.jumps.pop()
            amount += last
            if amount * last > 0:  # only a part of it was taken back
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
                self.lived += amount
