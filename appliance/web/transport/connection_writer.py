"""A connection after its answer's head: pictures or WebSocket messages, written by the event loop.

No task and no thread: who has something new calls `send`, and what the client's kernel does not take at
once waits for it, within a time limit.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from appliance.web.transport.socket_stream import CHUNK_BYTES, SocketStream

MOST_WAITING_BYTES = 8 * 1024 * 1024
"""A client that has more to take, such as one that sends pings and reads no answer, is dropped."""

_log = logging.getLogger("appliance.web")


@dataclass
class _Item:
    """What one `send` was given: the `rest` of it, and whether the kernel has any of it."""

    rest: memoryview
    is_current: Callable[[], bool]
    has_begun: bool = False


class ConnectionWriter:
    """What a view's takeover gets; every method belongs to the event loop's thread.

    `received`: called with what the client sent. `drained`: called when all was sent. `may_send`: asked
    before each piece, must not wait; once false, the connection is cut even within an item.
    `is_authorized`: asked twice a second in a thread of the pool. `ticked`: called twice a second.
    `stopping`: called when the server stops or the caller is no longer authorized; it ends the connection
    soon. `ended`: called once.
    """

    def __init__(
        self, stream: SocketStream, limit_s: float, run: Callable[[Callable[[], object]], None]
    ) -> None:
        """`limit_s`: within which the client must accept each 64 KiB; `run`: runs a job in the pool."""
        self._stream, self._limit_s, self.run = stream, limit_s, run
        self._waiting: deque[_Item] = deque()
        self._waiting_bytes = self._taken = 0
        self._stalled_at = 0.0
        self._is_flushing = self._is_last = False
        self._end_by = float("inf")
        self.over = asyncio.Event()
        self.received: Callable[[bytes], None] = lambda data: None
        self.drained: Callable[[], None] = lambda: None
        self.ticked = self.ended = self.drained
        self.stopping: Callable[[], None] = self.end
        self.may_send: Callable[[], bool] = lambda: True
        self.is_authorized = self.may_send

    def start(self) -> None:
        """Begin to read what the client sends; the caller has set the callbacks."""
        self._stream.on_readable(self._read)

    @property
    def has_ended(self) -> bool:
        """Whether the connection is closed."""
        return self.over.is_set()

    @property
    def is_idle(self) -> bool:
        """Whether the client's kernel has taken everything."""
        return not self._waiting

    def send(self, data: bytes, is_current: Callable[[], bool] = lambda: True) -> None:
        """Send all of it, after what waits already; nothing if it is not current when its turn comes."""
        if self.has_ended or self._is_last or not data:
            return
        if not self._waiting:
            self._stalled_at, self._taken = monotonic(), 0
        self._waiting.append(_Item(memoryview(data), is_current))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self.drop("reads nothing")
        elif len(self._waiting) == 1:
            self._flush()

    def finish(self, within_s: float) -> None:
        """Send what waits, then end our half; the client has `within_s` seconds to end its own."""
        self._end_by = min(self._end_by, monotonic() + within_s)
        self._is_last = True
        if self.is_idle:
            self._stream.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """Close at once; what waits is lost. May be called twice."""
        if not self.has_ended:
            self.over.set()
            self._waiting.clear()
            self._stream.close()
            self.ended()

    def drop(self, reason: str) -> None:
        """End a client that `reason`, and log it."""
        _log.info("a client that %s was dropped", reason)
        self.end()

    def tick(self) -> None:
        """End a client that is over its limits; the server calls it twice a second."""
        now = monotonic()
        if not self.may_send() or now > self._end_by:
            self.end()
        elif self._waiting and now - self._stalled_at > self._limit_s:
            self.drop(f"took nothing for {now - self._stalled_at:.1f} s")
        else:
            self.ticked()

    def _flush(self) -> None:
        if self._is_flushing:
            return
        self._is_flushing = True  # `drained` may send
        try:
            while not self.has_ended:
                if self._waiting:
                    if not self._send_some():
                        self._stream.on_writable(self._flush)
                        return
                elif self._is_last:
                    self._stream.on_writable(None)
                    self._stream.shutdown(socket.SHUT_WR)
                    return
                else:
                    self.drained()
                    if not self._waiting:
                        self._stream.on_writable(None)
                        return
        except ConnectionError:
            self.end()
        finally:
            self._is_flushing = False

    def _send_some(self) -> bool:
        """False if the kernel has no room now."""
        if not self.may_send():
            self.end()
            return True
        item = self._waiting[0]
        if not item.has_begun:
            if not item.is_current():
                self._waiting_bytes -= len(item.rest)
                self._waiting.popleft()
                return True
            # Not by an attempt: one that fails leaves a part with OpenSSL, which must follow.
            if not self._stream.is_writable:
                return False
            item.has_begun = True
        sent = self._stream.try_send(item.rest[:CHUNK_BYTES])
        item.rest = item.rest[sent:]
        self._waiting_bytes -= sent
        self._taken += sent
        if not item.rest:
            self._waiting.popleft()
        if self._taken >= CHUNK_BYTES or not self._waiting:
            self._stalled_at, self._taken = monotonic(), 0
        return sent > 0

    def _read(self) -> None:
        # Once only: a client that sends without end must not block the others.
        try:
            data = self._stream.try_receive()
        except ConnectionError:
            data = b""
        if data:
            self.received(data)
        elif data is not None:
            self.end()
