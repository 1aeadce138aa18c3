"""When each login was last used: open streams of an idle login end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class IdleTracker:
    """Kept in memory only: open streams end with the process anyway. Safe between threads."""

    def __init__(self, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """After `idle_s` seconds without a request a login is idle."""
        self._idle_s, self._clock = idle_s, clock
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def note(self, login: str) -> None:
        """Record a request with this login."""
        now = self._clock()
        with self._lock:
            if login not in self._last:
                self._last = {each: at for each, at in self._last.items() if now - at <= self._idle_s}
            self._last[login] = now

    def is_idle(self, login: str) -> bool:
        """Whether it was not used for too long."""
        with self._lock:
            last = self._last.get(login)
        return last is None or self._clock() - last > self._idle_s
