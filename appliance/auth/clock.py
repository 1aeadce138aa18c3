"""A wall clock that never runs backwards, for everything that expires."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ForwardClock:
    """Unix seconds that only increase while the process runs. Thread-safe.

    If the wall clock is set back, by hand or by a time server, an old cookie must not become valid again.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """`steady` is a monotonic clock in seconds."""
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._latest, self._at = wall(), steady()

    def now(self) -> float:
        """Unix seconds; the difference to an earlier result is at least the time elapsed."""
        wall, steady = self._wall(), self._steady()
        with self._lock:
            self._latest, self._at = max(wall, self._latest + max(0.0, steady - self._at)), steady
            return self._latest

    def at_least(self, floor: float) -> None:
        """Move the clock forward to `floor` Unix seconds, a time found in a file."""
        with self._lock:
            self._latest = max(self._latest, floor)
