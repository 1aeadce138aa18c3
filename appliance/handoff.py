"""The one hand-off between threads: a slot that holds the newest item, with cursors kept by its readers."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from appliance.errors import SlotClosed

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds the newest item and its number; nothing queues, so nothing grows.

    Each reader remembers the number it took last, so any number of readers go at their own pace and
    the slot knows none of them. What a reader skipped is `number - after - 1`.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._number = 0
        self._closed = False

    def put(self, item: T) -> None:
        """Replace the item and wake every waiting reader; never blocks. A closed slot ignores it."""
        with self._changed:
            if self._closed:
                return
            self._item = item
            self._number += 1
            self._changed.notify_all()

    def take(self, after: int, timeout: float) -> tuple[T | None, int]:
        """Wait up to `timeout` seconds for an item newer than number `after`.

        Returns (item, its number), or (None, after) when nothing newer came. Raises `SlotClosed` once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._fresh(after), timeout)
            if self._closed:
                raise SlotClosed("the slot is closed")
            return (self._item, self._number) if self._fresh(after) else (None, after)

    def newest(self) -> T | None:
        """The item held now, or None."""
        with self._changed:
            return self._item

    @property
    def number(self) -> int:
        """Number of the newest item; a reader that starts here sees only what comes later."""
        with self._changed:
            return self._number

    def clear(self) -> None:
        """Forget the item, so that nobody sees it any more; numbers go on rising."""
        with self._changed:
            self._item = None

    def close(self) -> None:
        """End every waiter, now and later. May be called twice."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """True once `close` was called."""
        return self._closed

    def _fresh(self, after: int) -> bool:
        return self._item is not None and self._number > after
