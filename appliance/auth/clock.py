"""A wall clock that never goes back, for everything that expires."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class ForwardClock:
    """Unix seconds that only rise while the process runs. Safe between threads.

    A wall clock set back, by hand or by a time server, must not make an old cookie valid again.
    """

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic
    ) -> None:
        """`steady` counts seconds from any beginning and is never set."""
        self._wall, self._steady = wall, steady
        self._lock = threading.Lock()
        self._latest, self._at = wall(), steady()

    def now(self) -> float:
        """Unix seconds, at least as many as have passed since any earlier result."""
        wall, steady = self._wall(), self._steady()
        with self._lock:
            self._latest, self._at = max(wall, self._latest + max(0.0, steady - self._at)), steady
            return self._latest

    def at_least(self, floor: float) -> None:
        """Move it up to `floor` Unix seconds, a time found in a file."""
        with self._lock:
            self._latest = max(self._latest, floor)
