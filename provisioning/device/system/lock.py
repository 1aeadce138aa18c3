"""One change of the device at a time: an installation, an update or a rollback."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from device.errors import UserError

NAME = "update.lock"
WAIT_S = 60.0


def acquire(file: Path, wait_s: float | None = WAIT_S) -> None:
    """Hold the lock `file` until this process and all its children have ended.

    Waits for another holder, and raises `UserError` after `wait_s` seconds. None: waits forever.
    """
    # The lock is the standard input, which children inherit: after a kill, no other process gets it before
    # the last child has ended.
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.dup2(descriptor, 0)
    os.close(descriptor)
    if wait_s is None:
        fcntl.flock(0, fcntl.LOCK_EX)  # the first in the queue
        return
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(0, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise UserError(
                    "another update or installation is running; try again when it has ended"
                ) from None
        time.sleep(0.2)
