"""Sends each new item of a slot, framed once, to every client that has taken the last one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

from appliance.handoff import Slot
from appliance.web.transport.connection_writer import ConnectionWriter

T = TypeVar("T")

NOT_NOW = object()
"""The kind of item for a client that should not get the newest one yet."""


class Broadcast(Generic[T]):
    """The clients of one slot. A slow client misses items and gets the newest next.

    The event loop wakes once for each item, whatever the number of clients. It belongs to that loop's thread.
    """

    def __init__(
        self,
        slot: Slot[T],
        frame: Callable[[T, Hashable], bytes | None],
        is_current: Callable[[T], bool] = lambda item: True,
    ) -> None:
        """`frame(item, kind)` returns the bytes for clients of this kind, None if they do not get it.

        `is_current`: asked before an item goes to a client, and again when it waited for a slow one.
        """
        self._slot, self._frame, self._is_current = slot, frame, is_current
        self._clients: dict[ConnectionWriter, tuple[Callable[[T], Hashable], Callable[[T], None]]] = {}
        self._seen: dict[ConnectionWriter, int] = {}
        self._framed: dict[Hashable, bytes | None] = {}
        self._item: T | None = None
        self._number = 0
        self._leave: Callable[[], None] | None = None

    def join(
        self,
        client: ConnectionWriter,
        choose: Callable[[T], Hashable],
        after: int,
        sending: Callable[[T], None] = lambda item: None,
    ) -> None:
        """Send this client items newer than number `after`, until it ends.

        `choose(item)` returns the kind in which the client gets an item, or `NOT_NOW`; then the client
        can choose the newest item at each `offer`, or the next one. `sending`: called with each item before
        it is sent. Sets the client's `drained`.
        """
        if client.has_ended:  # while the view sent something else
            return
        self._clients[client], self._seen[client] = (choose, sending), after
        client.drained = lambda: self._offer(client)
        if self._leave is None:
            self._subscribe()
        self._look()
        self._offer(client)

    def offer(self, client: ConnectionWriter) -> None:
        """Send the newest item now if the client has not had it, has room for it and chooses it."""
        if client.is_idle:
            self._offer(client)

    def leave(self, client: ConnectionWriter) -> None:
        """Send it nothing more. Call it when the client has ended."""
        self._clients.pop(client, None)
        self._seen.pop(client, None)
        if not self._clients and self._leave is not None:
            self._leave()
            self._leave = self._item = None
            self._framed.clear()

    def _subscribe(self) -> None:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._wake)

        self._leave = self._slot.subscribe(wake)

    def _wake(self) -> None:
        if self._slot.is_closed:
            for client in list(self._clients):
                client.stopping()
            return
        self._look()
        for client in list(self._clients):
            if not client.may_send():
                client.end()
            elif client.is_idle:
                self._offer(client)

    def _look(self) -> None:
        self._item, number = self._slot.newest_numbered()
        if number != self._number or self._item is None:  # no item is kept longer than by the slot
            self._number = number
            self._framed.clear()

    def _offer(self, client: ConnectionWriter) -> None:
        item = self._item
        if client not in self._clients or item is None or self._seen[client] >= self._number:
            return
        if not self._is_current(item):
            return
        choose, sending = self._clients[client]
        kind = choose(item)
        if kind is NOT_NOW:
            return
        self._seen[client] = self._number
        if kind not in self._framed:
            self._framed[kind] = self._frame(item, kind)
        data = self._framed[kind]
        if data is not None:
            sending(item)
            client.send(data, lambda: self._is_current(item))
