"""Passes items between threads: a slot holds the newest item, and each reader keeps its own cursor."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from appliance.errors import SlotClosed

T = TypeVar("T")


class Slot(Generic[T]):
    """Holds the newest item and its number. It has no queue, so it never grows.

    Each reader keeps the number of the item it took last, so any number of readers can work at their own
    speed. A reader skipped `number - after - 1` items.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._number = 0
        self._closed = False

    def put(self, item: T) -> None:
        """Replace the item and wake all waiting readers; never blocks. A closed slot ignores it."""
        with self._changed:
            if self._closed:
                return
            self._item = item
            self._number += 1
            self._changed.notify_all()

    def take(self, after: int, timeout: float) -> tuple[T | None, int]:
        """Wait up to `timeout` seconds for an item newer than number `after`.

        Returns (item, its number), or (None, `after`) if there is none. Raises `SlotClosed` once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_newer(after), timeout)
            if self._closed:
                raise SlotClosed("the slot is closed")
            return (self._item, self._number) if self._is_newer(after) else (None, after)

    def newest(self) -> T | None:
        """The newest item, or None."""
        with self._changed:
            return self._item

    @property
    def number(self) -> int:
        """Number of the newest item; a reader that starts here sees only later items."""
        with self._changed:
            return self._number

    def clear(self) -> None:
        """Drop the item, so that no reader gets it; numbers keep rising."""
        with self._changed:
            self._item = None

    def close(self) -> None:
        """End all waits, now and later. May be called twice."""
        with self._changed:
            self._closed = True
            self._item = None
            self._changed.notify_all()

    def _is_newer(self, after: int) -> bool:
        return self._item is not None and self._number > after
