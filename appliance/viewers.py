"""Viewers: how many watch each picture, their limit, and who has seen the current session."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable

from appliance.errors import TooManyViewers
from appliance.values import PictureVariant

WIDTHS = (320, 640, 960, 1280)
"""Widths to which a picture may be shrunk, in pixels; few, so that viewers share the encodings."""


def snap_width(wanted: int) -> int | None:
    """The `max_width` for a viewer who shows a picture `wanted` pixels wide; None: as wide as the frame.

    The smallest of `WIDTHS` that need not be enlarged.
    """
    return next((width for width in WIDTHS if width >= wanted), None)


class Viewers:
    """Counts viewers, so that only watched pictures are drawn and encoded."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.RLock()
        self._watching: Counter[Hashable] = Counter()

    def join(self, variant: Hashable) -> None:
        """Add a viewer of a `PictureVariant`, or of something else, by any name.

        Raises `TooManyViewers` at the limit. Each `join` needs a `leave`.
        """
        with self._lock:
            if self.count >= self._limit:
                raise TooManyViewers(
                    f"the viewer limit ({self._limit}) is reached; close another viewer or try again soon"
                )
            self._watching[variant] += 1

    def leave(self, variant: Hashable) -> None:
        """Remove a viewer of a variant."""
        with self._lock:
            self._watching[variant] -= 1

    def watched_variants(self) -> list[PictureVariant]:
        """The variants of the picture that have viewers."""
        with self._lock:
            watched = [variant for variant, count in self._watching.items() if count > 0]
        return [variant for variant in watched if isinstance(variant, PictureVariant)]

    @property
    def count(self) -> int:
        """Number of viewers."""
        with self._lock:
            return sum(self._watching.values())


class FirstViews:
    """Reports each viewer of the current session once, however often they return."""

    MOST = 4096
    """Maximum number of viewers remembered; beyond it they are reported again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._consent_epoch = 0
        self._viewers: set[tuple[str, ...]] = set()

    def is_first(self, consent_epoch: int, *viewer: str) -> bool:
        """Whether this viewer, identified by these words, has seen nothing under this consent before."""
        with self._lock:
            if consent_epoch != self._consent_epoch or len(self._viewers) >= self.MOST:
                self._consent_epoch, self._viewers = consent_epoch, set()
            if viewer in self._viewers:
                return False
            self._viewers.add(viewer)
            return True
