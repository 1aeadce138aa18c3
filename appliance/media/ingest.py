"""The pictures of a browser on their way from its connection to the camera: the newest one only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from appliance.errors import CameraLost, StateConflict

WINDOW = 2
"""Pictures that a sender may have under way: one on its link, one here. More would grow old on the link."""

_NONE_YET = "no phone or laptop is connected; open /camera on one"
_GONE = "the browser left: its page was closed, or its network failed; open /camera on it again"
_SILENT = "the browser sends no pictures; is it asleep, or its network too slow?"


@dataclass(frozen=True)
class Incoming:
    """A picture as it came. `arrived`: monotonic seconds."""

    arrived: float
    jpeg: bytes


class Ingest:
    """Connects one sender, the browser, with one camera. Thread-safe.

    Pictures are taken only between `open` and `close`, which the camera's owner calls as consent allows. At
    all other times none is kept. After the first `open` only the same sender may return, until `forget`:
    people agreed to what that camera shows.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sender: Sender | None = None
        self._chosen = ""
        self._opening = self._openings = 0
        self._waiting: Incoming | None = None
        self._absence = _NONE_YET

    # --- the sender ---

    def join(self, identity: str, on_change: Callable[[], None], *, take_over: bool = False) -> Sender:
        """A sender connects. A new connection of the same one replaces the earlier.

        `identity`: of the browser, the same when it returns; `take_over`: replace another one. `on_change`:
        called in any thread when `opening`, `taken` or `is_current` of the sender changed; it must not wait
        and must not use the ingest. Raises `StateConflict` with the reason for a refusal.
        """
        with self._changed:
            if self._chosen and self._chosen != identity:
                raise StateConflict("people agreed to the camera of another browser; press Stop first")
            before = self._sender
            if before and before.identity != identity and not take_over:
                raise StateConflict("another browser is the camera already")
            self._sender = sender = Sender(self, identity, on_change)
            self._waiting = None
            self._changed.notify_all()
        if before:
            before.on_change()
        return sender

    # --- the camera ---

    def absence(self) -> str | None:
        """Why no sender is connected; None if one is."""
        with self._changed:
            return None if self._sender else self._absence

    def open(self) -> None:
        """Let the sender send; raises `CameraLost` without one."""
        with self._changed:
            sender = self._sender
            if sender is None:
                raise CameraLost(self._absence)
            self._chosen = sender.identity
            self._openings += 1
            self._opening, self._waiting = self._openings, None
            sender.taken = 0
        sender.on_change()

    def take(self, timeout: float) -> Incoming:
        """The newest picture that was not taken yet, within `timeout` seconds; raises `CameraLost`."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._sender, timeout)
            if self._sender is None:
                raise CameraLost(self._absence)
            picture, sender = self._waiting, self._sender
            if picture is None:
                raise CameraLost(_SILENT)
            self._waiting = None
            sender.taken += 1
        sender.on_change()
        return picture

    def close(self) -> None:
        """Take nothing more, and drop what waits. May be called twice."""
        with self._changed:
            was_open = self._opening > 0
            self._opening, self._waiting = 0, None
            sender = self._sender
        if sender and was_open:
            sender.on_change()

    def forget(self) -> None:
        """Another sender may come next: the consent to this one ended."""
        with self._changed:
            was_chosen, self._chosen = self._chosen, ""
            sender = self._sender
        if sender and was_chosen:
            sender.on_change()  # the reason why it waits is another one now

    # --- for `Sender` ---

    def is_current(self, sender: Sender) -> bool:
        """Whether no other connection replaced this one."""
        return self._sender is sender

    def opening_for(self, sender: Sender) -> int:
        """See `Sender.opening`."""
        return self._opening if self._sender is sender else 0

    def put(self, sender: Sender, jpeg: bytes, opening: int) -> None:
        """See `Sender.put`."""
        with self._changed:
            if not opening or opening != self.opening_for(sender):
                return
            is_replaced = self._waiting is not None
            sender.taken += is_replaced
            self._waiting = Incoming(time.monotonic(), jpeg)
            self._changed.notify_all()
        if is_replaced:
            sender.on_change()

    def leave(self, sender: Sender, reason: str) -> None:
        """See `Sender.leave`."""
        with self._changed:
            if self._sender is sender:
                self._sender = self._waiting = None
                self._absence = reason or _GONE
                self._changed.notify_all()


class Sender:
    """One connection of a browser. No method waits."""

    def __init__(self, ingest: Ingest, identity: str, on_change: Callable[[], None]) -> None:
        self._ingest = ingest
        self.identity, self.on_change = identity, on_change
        self.taken = 0
        """Pictures that are no longer under way since the camera opened: taken, or replaced by newer ones."""

    @property
    def is_current(self) -> bool:
        """Whether no other connection took its place."""
        return self._ingest.is_current(self)

    @property
    def opening(self) -> int:
        """The number of the opening during which it may send, rising; 0 while it may not."""
        return self._ingest.opening_for(self)

    def put(self, jpeg: bytes, opening: int) -> None:
        """Hand over a picture that was sent during this opening; it is dropped if that has ended."""
        self._ingest.put(self, jpeg, opening)

    def leave(self, reason: str = "") -> None:
        """The browser has gone; `reason`: in words. May be called twice: the first reason counts."""
        self._ingest.leave(self, reason)
