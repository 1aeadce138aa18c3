"""Which process is the writer of the records: the running appliance, or a command while none runs."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

WAIT_S = 5.0
"""How long `acquire_soon` waits; a process that only inspects the records holds the lock briefly."""


class WriterLock:
    """A lock on a file; it ends with the process, even in a crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Try to take the lock; False while another process holds it. Raises `OSError`."""
        if self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            self._descriptor = descriptor
        return True

    def acquire_soon(self) -> bool:
        """Like `acquire`, but waits briefly for a holder that is about to release it."""
        deadline = time.monotonic() + WAIT_S
        while not self.acquire():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True

    def release(self) -> None:
        """Release the lock. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
