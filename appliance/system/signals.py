"""SIGTERM and SIGINT as an event, from the start of the process."""

from __future__ import annotations

import math
import os
import select
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)

LONGEST_STOP_S = 30.0
"""Maximum duration of a stop: after that the process exits with 1."""

_LOOK_S = 1.0
_LATE = b"ERROR appliance.system.signals: the stop takes too long: the process exits\n"


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that the first signal sets; a second signal ends the process immediately.

    A handler must not set it: called while the main thread is inside the event's `wait`, it would deadlock.
    Instead, Python's C code writes each signal to a pipe, which is read by a thread that holds no lock.
    """
    stop = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    watcher = threading.Thread(target=_watch, args=(reader, stop), name="signals", daemon=True)
    watcher.start()
    pipe_before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, _ignore) for number in _STOPS}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(pipe_before)
        os.close(writer)  # ends the reading thread
        watcher.join()
        os.close(reader)


def _watch(reader: int, stop: threading.Event) -> None:
    stopping, end = False, math.inf
    while True:
        try:
            if end == math.inf and stop.is_set():
                end = time.monotonic() + LONGEST_STOP_S
            if time.monotonic() > end:
                os.write(2, _LATE)
                os._exit(1)
            if not select.select([reader], [], [], _LOOK_S)[0]:
                continue
            number = os.read(reader, 1)
        except MemoryError:  # usually temporary, and this thread must keep running
            time.sleep(_LOOK_S)
            continue
        if not number:
            return
        if number[0] not in _STOPS:
            continue
        if stopping:
            os._exit(1)
        stopping = True
        stop.set()


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing, but without a handler Python would not write the signal to the pipe."""
