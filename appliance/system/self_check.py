"""Whether the process can still start a thread and get memory: without them it answers no request.

At its limit of memory or threads a process may sit there without an answer, with no worker that could die.
"""

from __future__ import annotations

import _thread
import os

ROOM_BYTES = 8 << 20
"""About what a frame needs on its way to the viewers. It is asked for and not touched: it costs nothing."""

PATIENCE = 8
"""The number of failures in a row after which the process ends; systemd waits for 15."""


class SelfCheck:
    """`passes` is asked once a tick. Belongs to one thread."""

    def __init__(self) -> None:
        self.failures = 0
        """How many times in a row it failed."""

    def passes(self) -> bool:
        """Whether there is memory, and a thread can be started. Never waits, never raises."""
        try:
            bytearray(ROOM_BYTES)
            _thread.start_new_thread(_nothing, ())  # `Thread.start` waits for ever where memory is out
            self.failures = 0
            return True
        except (RuntimeError, MemoryError):
            self.failures += 1
            return False


def _nothing() -> None:
    """That it could be started is all."""


def give_up() -> None:
    """End the process at once with 1 and one line, needing no memory."""
    os.write(2, _LAST)
    os._exit(1)


_LAST = b"ERROR appliance.daemon: no memory or no threads are left: the process ends, to be started again\n"
