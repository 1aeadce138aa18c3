"""Which process owns the records: the running appliance, or a command while none runs."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

WAIT_S = 5.0
"""How long `claim_soon` waits; whoever only looks at the records has them for a moment."""


class Owner:
    """A lock on a file, which ends with the process however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether it is ours."""
        return self._descriptor is not None

    def claim(self) -> bool:
        """Try to become the owner; False while another process is. Raises `OSError`."""
        if self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def claim_soon(self) -> bool:
        """As `claim`, and waits a moment for an owner who is about to let it go."""
        deadline = time.monotonic() + WAIT_S
        while not self.claim():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def release(self) -> None:
        """Let it go. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
