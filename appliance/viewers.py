"""Viewers: how many watch each picture, their limit, and who has seen the current session."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable

from appliance.errors import TooManyViewers
from appliance.values import PictureVariant

WIDTHS = (320, 640, 960, 1280)
"""Widths to which a picture may be shrunk, in pixels; few, so that viewers share the encodings."""


def snap_width(wanted: int) -> int | None:
    """The `max_width` for a viewer who shows a picture `wanted` pixels wide; None: as wide as the frame.

    The smallest of `WIDTHS` that need not be enlarged.
    """
    return next((width for width in WIDTHS if width >= wanted), None)


def _always() -> bool:
    return True


class Viewers:
    """Counts viewers, and knows who takes a picture now: only for them pictures are drawn and encoded.

    Operators have no limit: others must not keep them from seeing what they are responsible for.
    """

    def __init__(self, limit: int) -> None:
        """`limit` viewers who are not operators; one seat of them is for those without this name."""
        self._limit = limit
        self._lock = threading.RLock()
        self._watching: defaultdict[Hashable, list[Callable[[], bool]]] = defaultdict(list)
        self._seats: Counter[str] = Counter()

    def join(
        self,
        variant: Hashable,
        name: str = "",
        *,
        is_operator: bool = False,
        is_ready: Callable[[], bool] = _always,
    ) -> None:
        """Add a viewer of a `PictureVariant`, or of something else, by any name.

        Raises `TooManyViewers` at the limit. Each `join` needs a `leave`.

        `name`: of a token, which may take all seats but one; empty for other viewers.
        `is_ready`: whether the viewer takes a picture now; asked once for each frame, in any thread.
        """
        with self._lock:
            if not is_operator:
                self._take_seat(name)
            self._watching[variant].append(is_ready)

    def leave(
        self,
        variant: Hashable,
        name: str = "",
        *,
        is_operator: bool = False,
        is_ready: Callable[[], bool] = _always,
    ) -> None:
        """Remove a viewer of a variant; the arguments are those of `join`."""
        with self._lock:
            self._watching[variant].remove(is_ready)
            if not is_operator:
                self._seats[name] -= 1

    def _take_seat(self, name: str) -> None:
        if self._seats.total() >= self._limit:
            raise TooManyViewers(
                f"the viewer limit ({self._limit}) is reached; close another viewer or try again soon"
            )
        if name and self._seats[name] >= max(1, self._limit - 1):
            raise TooManyViewers(
                f"the token {name} has all but one of the {self._limit} viewers that are allowed; close one"
            )
        self._seats[name] += 1

    def change(self, old: Hashable, new: Hashable, is_ready: Callable[[], bool] = _always) -> None:
        """A viewer of `old` watches `new` from now on, and keeps the place."""
        with self._lock:
            self._watching[old].remove(is_ready)
            self._watching[new].append(is_ready)

    def wanted_variants(self) -> list[PictureVariant]:
        """The variants of the picture that a viewer takes now."""
        with self._lock:
            watching = [(variant, list(viewers)) for variant, viewers in self._watching.items()]
        return [
            variant
            for variant, viewers in watching
            # All of them, because each notes that a picture came while it was not ready.
            if isinstance(variant, PictureVariant) and sum(is_ready() for is_ready in viewers)
        ]

    @property
    def count(self) -> int:
        """Number of viewers."""
        with self._lock:
            return sum(map(len, self._watching.values()))


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
