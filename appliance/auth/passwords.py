"""Passwords: argon2id, one at a time, and the same work for an unknown name.

One thread computes all hashes. The C library keeps the 19 MiB of a hash for the thread that asked for it, so
hashing in the threads of the web server would cost that much memory in each of them, for good.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from appliance.errors import AccessError, TooManyAttempts

SHORTEST, LONGEST = 10, 256
"""Characters of a password. Length is the only requirement."""

MEMORY_KIB, PASSES = 19 * 1024, 2
"""About 40 ms on a PC and 150 ms on a small board; a board of 1 GB can spare 19 MiB."""

PATIENCE_S = 3.0
"""How long one attempt waits for another."""

THREAD = "password-hash"
"""The name of the one thread that hashes; it starts with the first password and ends with the process."""

T = TypeVar("T")

_hashing = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)


class Passwords:
    """Hashes and verifies, one at a time: guessing must cost neither memory nor the frame rate."""

    def __init__(self, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._turn = threading.Lock()
        self._unknown = ""

    def hash(self, password: str) -> str:
        """The hash to keep; raises `AccessError` for a password that is too short or too long."""
        if not SHORTEST <= len(password) <= LONGEST:
            raise AccessError(
                f"a password of {len(password)} characters: expected {SHORTEST} to {LONGEST}; "
                "a few words in a row are easy to keep in mind"
            )
        return self._in_turn(lambda: self._hasher.hash(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether a password matches a kept hash; None, for an unknown name, takes as long."""
        return self._in_turn(lambda: self._verify(kept, password[:LONGEST]))

    def _verify(self, kept: str | None, password: str) -> bool:
        if kept is None and not self._unknown:
            self._unknown = self._hasher.hash("a password of no account")
        try:
            return self._hasher.verify(kept or self._unknown, password) and kept is not None
        except (VerificationError, InvalidHashError):
            return False

    def _in_turn(self, work: Callable[[], T]) -> T:
        """Run `work` in the hashing thread; raises `TooManyAttempts` when it is busy for too long."""
        if not self._turn.acquire(timeout=PATIENCE_S):
            raise TooManyAttempts("too many logins at this moment; try again shortly", wait_s=PATIENCE_S)
        try:
            return _hashing.submit(work).result()
        finally:
            self._turn.release()
