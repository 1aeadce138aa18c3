"""Limits on exports: one at a time, few for each personal link, and none to a client that reads too slowly.

An export takes much processor time, and a day of eight people is a gigabyte of JSON. So callers with a role
share one slot, and personal links another: a person with a link must not block an export of the operator.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain

from flask import Response

from appliance.errors import Busy, StoreError, TooManyAttempts

LINK_EXPORTS, LINK_WINDOW_S = 6, 3600.0
"""Limit of exports by one session's link, within `LINK_WINDOW_S`: each of three formats twice an hour."""

LONGEST_WAIT_S = 600.0
"""A client is cut off when its export has waited this long in total: others need the slot."""

_MAX_REMEMBERED = 4096  # sessions; the oldest are forgotten first

_log = logging.getLogger("appliance.web")


class ExportSlot:
    """The right to make an export; `release` frees it, and may be called twice."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock, self._held, self.kept = lock, True, False
        """`kept`: the slot is held after the view has returned, because the response streams."""

    def release(self) -> None:
        """Free the slot."""
        if self._held:
            self._held = False
            self._lock.release()


class ExportLimiter:
    """Which exports are being made, and how many each link has had."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._locks = {by_link: threading.Lock() for by_link in (False, True)}
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()

    @contextmanager
    def slot(self, id: str, *, by_link: bool = False) -> Iterator[ExportSlot]:
        """The slot for an export of session `id`; freed at the end of the block unless a response keeps it.

        Raises `Busy` while another export has it, `TooManyAttempts` when the link is at its limit.
        """
        lock = self._locks[by_link]
        if not lock.acquire(blocking=False):
            raise Busy("another export is being made; try again when it is done")
        slot = ExportSlot(lock)
        try:
            if by_link:
                self._count(id)
            yield slot
        except BaseException:
            slot.release()
            raise
        if not slot.kept:
            slot.release()

    def _count(self, id: str) -> None:
        now = self._clock()
        with self._lock:
            taken = self._taken.get(id, deque())
            while taken and now - taken[0] >= LINK_WINDOW_S:
                taken.popleft()
            if len(taken) >= LINK_EXPORTS:
                wait_s = LINK_WINDOW_S - (now - taken[0])
                raise TooManyAttempts(
                    f"{LINK_EXPORTS} exports an hour by one link are the limit; "
                    f"try again in {wait_s / 60:.0f} minutes",
                    wait_s=wait_s,
                )
            taken.append(now)
            self._taken[id] = taken
            self._taken.move_to_end(id)
            while len(self._taken) > _MAX_REMEMBERED:
                self._taken.popitem(last=False)


def stream_response(blocks: Iterator[bytes], content_type: str, slot: ExportSlot) -> Response:
    """A response that sends the blocks as they are made, and frees the slot when it ends.

    The first block is made at once, so that a failure there becomes an ordinary error answer.
    """
    first = next(blocks)
    response = Response(_cut_off_if_slow(chain([first], blocks)), content_type=content_type)
    slot.kept = True
    response.call_on_close(slot.release)
    return response


def _cut_off_if_slow(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks while the client keeps reading; cuts the connection when the rest is unavailable."""
    waited_s = 0.0
    try:
        for block in blocks:
            began = time.monotonic()
            yield block
            waited_s += time.monotonic() - began
            if waited_s > LONGEST_WAIT_S:
                raise StoreError(f"the client took longer than {LONGEST_WAIT_S:.0f} s to read it")
    except StoreError as error:
        _log.warning("an export was cut off: %s", error)
        # Without the last chunk no client mistakes the export for a complete one.
        raise ConnectionResetError(errno.ECONNRESET, "the export was cut off") from error
