"""Passes items between threads, and lets one thread go first.

A slot holds the newest item, and each reader keeps its own cursor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
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
        self._subscribers: list[Callable[[], None]] = []

    def put(self, item: T) -> None:
        """Replace the item and wake all waiting readers; never blocks. A closed slot ignores it."""
        with self._changed:
            if self._closed:
                return
            self._item = item
            self._number += 1
            self._notify()

    def take(self, after: int, timeout: float) -> tuple[T | None, int]:
        """Wait up to `timeout` seconds for an item newer than number `after`.

        Returns (item, its number), or (None, `after`) if there is none. Raises `SlotClosed` once closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._is_newer(after), timeout)
            if self._closed:
                raise SlotClosed("the slot is closed")
            return (self._item, self._number) if self._is_newer(after) else (None, after)

    def subscribe(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Call `changed` at each change, in the thread that makes it; it must neither wait nor use the slot.

        Returns what ends this.
        """
        with self._changed:
            self._subscribers.append(changed)

        def leave() -> None:
            with self._changed:
                self._subscribers.remove(changed)

        return leave

    def newest(self) -> T | None:
        """The newest item, or None."""
        return self.newest_numbered()[0]

    def newest_numbered(self) -> tuple[T | None, int]:
        """The newest item, or None, and its number."""
        with self._changed:
            return self._item, self._number

    @property
    def is_closed(self) -> bool:
        """Whether there will be no more items."""
        with self._changed:
            return self._closed

    @property
    def number(self) -> int:
        """Number of the newest item; a reader that starts here sees only later items."""
        with self._changed:
            return self._number

    def clear(self) -> None:
        """Drop the item, so that no reader gets it; numbers keep rising."""
        with self._changed:
            self._item = None
            self._notify()

    def close(self) -> None:
        """End all waits, now and later. May be called twice."""
        with self._changed:
            self._closed = True
            self._item = None
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        for changed in self._subscribers:
            changed()

    def _is_newer(self, after: int) -> bool:
        return self._item is not None and self._number > after


class RightOfWay:
    """One thread's work goes first: another thread begins only in its pauses.

    The first thread never waits. Work that the other has begun continues, so it should be short.
    """

    def __init__(self) -> None:
        self._is_free = threading.Event()
        self._is_free.set()

    def __enter__(self) -> None:
        """The first thread begins its work."""
        self._is_free.clear()

    def __exit__(self, *_: object) -> None:
        """A pause begins."""
        self._is_free.set()

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a pause, however short; whether there was one."""
        return self._is_free.wait(timeout)
