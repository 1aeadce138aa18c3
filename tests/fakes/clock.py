"""A clock that a test sets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Clock:
    """Seconds that pass only when a test moves them."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now
