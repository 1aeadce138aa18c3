"""Whether the process can still start a thread and allocate memory: without them it answers no request.

At its limit of memory or threads a process may hang without any worker that fails.
"""

from __future__ import annotations

import _thread
import os

PROBE_BYTES = 8 << 20
"""About what a frame needs on its way to the viewers. Allocated and not touched, so it costs nothing."""

MAX_FAILURES = 8
"""The number of failures in a row after which the process ends; systemd waits for 15."""


class SelfCheck:
    """Call `passes` once a tick, from one thread."""

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row."""

    def passes(self) -> bool:
        """Whether there is memory, and a thread can be started. Never waits, never raises."""
        try:
            bytearray(PROBE_BYTES)
            _thread.start_new_thread(_nothing, ())  # `Thread.start` would wait forever without memory
            self.failures = 0
            return True
        except (RuntimeError, MemoryError):
            self.failures += 1
            return False


def _nothing() -> None:
    """Does nothing: that it can be started is the check."""


def exit_unable() -> None:
    """End the process at once with 1 and one line, without allocating memory."""
    os.write(2, _LAST)
    os._exit(1)


_LAST = b"ERROR appliance.daemon: no memory or no threads are left: the process ends, to be started again\n"
