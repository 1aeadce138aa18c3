"""The limit on how many connections each address holds."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable


class ConnectionLimiter:
    """Counts connections by address; safe between threads."""

    def __init__(self, limit: int | None = None, exempt: Callable[[str], bool] | None = None) -> None:
        """`limit` connections for each address, None for no limit; `exempt` addresses have none."""
        self._limit, self._exempt = limit, exempt
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def acquire(self, address: str) -> bool:
        """Count one more connection of this address; False at its limit. Each True needs a `release`."""
        with self._lock:
            is_full = self._limit is not None and self._held[address] >= self._limit
            if is_full and not (self._exempt and self._exempt(address)):
                return False
            self._held[address] += 1
            return True

    def release(self, address: str) -> None:
        """Count one connection of this address less: it is closed."""
        with self._lock:
            self._held[address] -= 1
            if self._held[address] <= 0:
                del self._held[address]

    def held(self, address: str) -> int:
        """How many connections this address holds now."""
        with self._lock:
            return self._held.get(address, 0)
