"""Checks that the process can still start a thread and allocate memory, which every request needs.

A process at its limit of memory or threads may hang without a failing worker.
"""

from __future__ import annotations

import _thread
import os

PROBE_BYTES = 8 << 20
"""Roughly what a frame needs on its way to the viewers. Allocated but never touched, so it costs nothing."""

MAX_FAILURES = 8
"""The number of failures in a row after which the process exits; systemd waits for 15."""


class SelfCheck:
    """Call `passes` once a tick, from one thread."""

    def __init__(self) -> None:
        self.failures = 0
        """Failures in a row."""

    def passes(self) -> bool:
        """Whether memory is available and a thread can be started. Never waits, never raises."""
        try:
            bytearray(PROBE_BYTES)
            _thread.start_new_thread(_nothing, ())  # `Thread.start` would wait forever without memory
            self.failures = 0
            return True
        except (RuntimeError, MemoryError):
            self.failures += 1
            return False


def _nothing() -> None:
    """Does nothing: the check is whether it can be started."""


def exit_unable() -> None:
    """Exit immediately with 1 after printing one line, without allocating memory."""
    os.write(2, _LAST)
    os._exit(1)


_LAST = b"ERROR appliance.daemon: no memory or threads left: the process exits, to be restarted\n"
