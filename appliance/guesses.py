"""Wrong tries by address, so that guessing is slow."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

TRIES = 20
"""Wrong links that an address may try within `WINDOW_S`. They have 128 bits: this only keeps it quiet."""

WINDOW_S = 60.0

_ADDRESSES = 256


class Guesses:
    """Counts wrong tries by address and forgets the addresses that were quiet the longest."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tried: OrderedDict[str, list[float]] = OrderedDict()

    def wrong(self, address: str) -> None:
        """One more wrong try from there."""
        with self._lock:
            self._tried[address] = [*self._recent(address), self._clock()][-TRIES:]
            self._tried.move_to_end(address)
            while len(self._tried) > _ADDRESSES:
                self._tried.popitem(last=False)

    def wait_s(self, address: str) -> int:
        """Seconds until this address may try again, 0 when it may now."""
        with self._lock:
            recent = self._recent(address)
            return 0 if len(recent) < TRIES else max(1, round(recent[0] + WINDOW_S - self._clock()))

    def _recent(self, address: str) -> list[float]:
        since = self._clock() - WINDOW_S
        return [at for at in self._tried.get(address, []) if at > since]
