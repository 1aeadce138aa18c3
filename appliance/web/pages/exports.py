"""Exports over HTTP: one at a time, few by a link, and never held up by a client that reads slowly.

An export costs the processor much, and a day of eight people is a gigabyte of JSON. So there is one place for
callers who log in and one for links: a person with a link must not keep the operator from an export.
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
from typing import TypeVar

from flask import Response

from appliance.errors import Busy, StoreError, TooManyAttempts

LINK_EXPORTS, LINK_WINDOW_S = 6, 3600.0
"""Exports by the link of one session, and the seconds they count in: each format twice an hour."""

AUDIT_EVERY_S = 3600.0
"""The same export by the same caller is one line of the audit log in this many seconds."""

LONGEST_WAIT_S = 600.0
"""A client that has made an export wait this long in all is cut off: others want the place."""

_MOST = 4096  # sessions or callers remembered; more are forgotten, the oldest first

_log = logging.getLogger("appliance.web")

Key = TypeVar("Key")
Value = TypeVar("Value")


class Slot:
    """A place that is taken; `release` frees it, and may be called twice."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock, self._held, self.kept = lock, True, False
        """`kept`: the place outlives the request's view, because a response streams."""

    def release(self) -> None:
        """Free the place."""
        if self._held:
            self._held = False
            self._lock.release()


class Exports:
    """Which exports are being made, how many a link has taken, and which are in the audit log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._places = {by_link: threading.Lock() for by_link in (False, True)}
        self._taken: OrderedDict[str, deque[float]] = OrderedDict()
        self._noted: OrderedDict[tuple[str, ...], float] = OrderedDict()

    @contextmanager
    def slot(self, id: str, *, by_link: bool = False) -> Iterator[Slot]:
        """The place for an export of session `id`; freed at the end of the block unless a response keeps it.

        Raises `Busy` while another export has it, `TooManyAttempts` when the link has had enough.
        """
        place = self._places[by_link]
        if not place.acquire(blocking=False):
            raise Busy("another export is being made; try again when it is done")
        slot = Slot(place)
        try:
            if by_link:
                self._count(id)
            yield slot
        except BaseException:
            slot.release()
            raise
        if not slot.kept:
            slot.release()

    def is_news(self, *export: str) -> bool:
        """Whether an export, in the words of its audit line, is not in the audit log of the last hour."""
        with self._lock:
            return self._clock() - self._noted.get(export, -AUDIT_EVERY_S) >= AUDIT_EVERY_S

    def noted(self, *export: str) -> None:
        """It is in the audit log now."""
        with self._lock:
            _remember(self._noted, export, self._clock())

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
            _remember(self._taken, id, taken)


def streamed(blocks: Iterator[bytes], content_type: str, slot: Slot) -> Response:
    """A response that sends the blocks as they are made, and frees the slot at its end.

    The first block is made at once, so that what fails there is an answer of its own.
    """
    first = next(blocks)
    response = Response(_timed(chain([first], blocks)), content_type=content_type)
    slot.kept = True
    response.call_on_close(slot.release)
    return response


def _timed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, as long as the client takes them in; cuts the connection when the rest cannot be had."""
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
        # Without its last chunk no client takes it for whole, as it would after an ordinary end.
        raise ConnectionResetError(errno.ECONNRESET, "the export was cut off") from error


def _remember(table: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    table[key] = value
    table.move_to_end(key)
    while len(table) > _MOST:
        table.popitem(last=False)
