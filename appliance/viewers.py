"""Who is watching: how many viewers of which picture, and no more than the limit."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import TooManyViewers

OVERLAY, BARE = "overlay", "bare"
"""The two pictures: with boxes and labels drawn on, and as the camera gave it."""


class Viewers:
    """Counts viewers, so that nothing is drawn or encoded which nobody sees."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._watching: Counter[str] = Counter()

    def check(self) -> None:
        """Raises `TooManyViewers` when one more would be over the limit."""
        if self.count >= self._limit:
            raise TooManyViewers(
                f"{self._limit} are watching already, the limit; close one, or try again soon"
            )

    def join(self, variant: str) -> None:
        """One more viewer of a variant; raises `TooManyViewers` at the limit. Each join needs its `leave`."""
        with self._lock:
            self.check()
            self._watching[variant] += 1

    def leave(self, variant: str) -> None:
        """The viewer is gone."""
        with self._lock:
            self._watching[variant] -= 1

    @contextmanager
    def watching(self, variant: str) -> Iterator[None]:
        """A viewer for the length of a `with` block."""
        self.join(variant)
        try:
            yield
        finally:
            self.leave(variant)

    def wanted(self) -> list[str]:
        """The variants that somebody watches."""
        with self._lock:
            return [variant for variant, count in self._watching.items() if count > 0]

    @property
    def count(self) -> int:
        """How many are watching."""
        with self._lock:
            return sum(self._watching.values())
