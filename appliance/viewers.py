"""Viewers: how many watch which picture, up to a limit, and who has seen the session in force."""

from __future__ import annotations

import threading
from collections import Counter

from appliance.errors import TooManyViewers

OVERLAY, BARE = "overlay", "bare"
"""The two pictures: with boxes and labels drawn on, and as the camera gave it."""


class Viewers:
    """Counts viewers, so that pictures are drawn and encoded only for viewers."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._watching: Counter[str] = Counter()

    def join(self, variant: str) -> None:
        """Count one more viewer of a variant; raises `TooManyViewers` at the limit. Each needs a `leave`."""
        with self._lock:
            if self.count >= self._limit:
                raise TooManyViewers(
                    f"{self._limit} are watching already, the limit; close one, or try again soon"
                )
            self._watching[variant] += 1

    def leave(self, variant: str) -> None:
        """Count one viewer of a variant less."""
        with self._lock:
            self._watching[variant] -= 1

    def wanted(self) -> list[str]:
        """The variants that have viewers."""
        with self._lock:
            return [variant for variant, count in self._watching.items() if count > 0]

    @property
    def count(self) -> int:
        """How many are watching."""
        with self._lock:
            return sum(self._watching.values())


class Seen:
    """Who has seen something under the consent in force, so that the audit log has each viewer once."""

    MOST = 4096
    """With more viewers the list starts again, and they are audited twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._consent_epoch = 0
        self._viewers: set[tuple[str, ...]] = set()

    def is_new(self, consent_epoch: int, *viewer: str) -> bool:
        """Whether this viewer has seen nothing under this consent before; remembers the viewer."""
        with self._lock:
            if consent_epoch != self._consent_epoch or len(self._viewers) >= self.MOST:
                self._consent_epoch, self._viewers = consent_epoch, set()
            if viewer in self._viewers:
                return False
            self._viewers.add(viewer)
            return True
