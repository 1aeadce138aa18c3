"""One-time links: they let a phone use one page without an account.

A link works once and for ten minutes. The browser that opens it becomes a guest: it gets a secret of its own,
which admits it to that page alone, as long as the maker of the link has the right to it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.auth.tokens import digest_of

ROLES = {"camera": "camera", "webcam": "analyze"}
"""Page -> role of its guests."""

LINK_S = 600.0
"""How long a link waits for its use, in seconds."""

GUEST_S = 12 * 3600.0
"""How long a guest is admitted, in seconds."""

MOST = 32
"""Links, and guests; beyond it the oldest ends. Few people stand around one device."""

_BYTES = 16


@dataclass(frozen=True)
class Guest:
    """A browser that opened a link. `digest`: of its secret; `until`: seconds of the links' clock."""

    page: str
    digest: str
    until: float
    is_backed: Callable[[], bool]
    """Whether the maker of the link still has the right to it."""

    @property
    def role(self) -> str:
        """The role on its page."""
        return ROLES[self.page]


class OneTimeLinks:
    """Links and guests, by the SHA-256 of their secrets. Thread-safe.

    They are only in memory: a restart ends them all.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._links: dict[str, Guest] = {}
        self._guests: dict[str, Guest] = {}

    def create(self, page: str, is_backed: Callable[[], bool]) -> str:
        """A new link to a page of `ROLES`, as its secret of 128 bits.

        `is_backed`: asked at each use of the link and for its guest; once false, they have ended.
        """
        return self._add(self._links, page, LINK_S, is_backed)

    def find_page(self, token: str) -> str | None:
        """The page of an unused link, which stays unused; None for an unknown, used or ended one."""
        with self._lock:
            link = self._links.get(digest_of(token))
        return link.page if link and self._is_in_force(link) else None

    def redeem(self, token: str) -> tuple[str, str] | None:
        """Use a link up: its page, and the secret of the new guest; None as for `find_page`."""
        with self._lock:
            link = self._links.pop(digest_of(token), None)
        if link is None or not self._is_in_force(link):
            return None
        return link.page, self._add(self._guests, link.page, GUEST_S, link.is_backed)

    def find(self, secret: str) -> Guest | None:
        """The guest with this secret."""
        return self.find_by_digest(digest_of(secret))

    def find_by_digest(self, digest: str) -> Guest | None:
        """The guest whose secret has this digest; None for an unknown or ended one."""
        with self._lock:
            guest = self._guests.get(digest)
        return guest if guest and self._is_in_force(guest) else None

    def _is_in_force(self, guest: Guest) -> bool:
        return self._clock() < guest.until and guest.is_backed()

    def _add(self, known: dict[str, Guest], page: str, seconds: float, is_backed: Callable[[], bool]) -> str:
        secret = secrets.token_urlsafe(_BYTES)
        digest = digest_of(secret)
        with self._lock:
            while len(known) >= MOST:
                del known[next(iter(known))]
            known[digest] = Guest(page, digest, self._clock() + seconds, is_backed)
        return secret
