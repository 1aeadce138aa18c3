"""How many connections each address holds, and no more than its share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable


def _nobody(address: str) -> bool:
    return False


class Crowd:
    """Counts connections by address; safe between threads."""

    def __init__(self, limit: int | None = None, spared: Callable[[str], bool] = _nobody) -> None:
        """`limit` connections per address, None for any number; `spared` addresses have no limit."""
        self._limit, self._spared = limit, spared
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()

    def join(self, address: str) -> bool:
        """One more connection of this address; False when it has its share. Each True needs a `leave`."""
        with self._lock:
            if self._limit is not None and self._held[address] >= self._limit and not self._spared(address):
                return False
            self._held[address] += 1
            return True

    def leave(self, address: str) -> None:
        """One of its connections is closed."""
        with self._lock:
            self._held[address] -= 1
            if self._held[address] <= 0:
                del self._held[address]

    def held(self, address: str) -> int:
        """How many it holds now."""
        with self._lock:
            return self._held.get(address, 0)
