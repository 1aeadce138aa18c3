"""How often something may be done in a second, however many frames a second has."""

from __future__ import annotations


class Pace:
    """Allows `per_s` times a second; of turns not taken at most two are kept for later.

    Two: so that a camera of fewer frames, which cannot take them evenly, may take two in a row.
    """

    _MOST = 2.0

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._saved, self._now = self._MOST, 0.0

    def tell(self, now: float) -> None:
        """It is `now`, in seconds; called once a frame."""
        passed = max(0.0, now - self._now)
        self._saved, self._now = min(self._MOST, self._saved + self._per_s * passed), now

    @property
    def due(self) -> bool:
        """Whether it may be done now."""
        return self._saved >= 1.0 - 1e-6

    def done(self) -> None:
        """It was done, allowed or not."""
        self._saved = max(0.0, self._saved - 1.0)
