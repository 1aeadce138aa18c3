"""A client's socket in the event loop, plain or TLS: no wait outlasts its deadline."""

from __future__ import annotations

import asyncio
import errno
import math
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import TypeVar

CHUNK_BYTES = 65536
"""What a client must accept within the send limit."""

READ_BYTES = 16384
"""What is read at once: a TLS record at most, so that OpenSSL holds no bytes that the selector cannot see."""

_TLS_REQUIRED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 58\r\nConnection: close\r\n\r\n"
    b"This page is encrypted: its address begins with https://.\n"
)
"""The answer to plain HTTP on a TLS port."""

_NOT_NOW = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

T = TypeVar("T")


class SocketStream:
    """A non-blocking socket. Use it in its event loop only.

    A slow client raises `TimeoutError` and a broken connection `ConnectionResetError`, whatever the layer
    below raises.
    """

    # asyncio's own TLS takes 256 kB for each connection from Python 3.11 on; OpenSSL alone takes a few.
    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket, self._loop = sock, asyncio.get_running_loop()
        self.is_closed = False
        self.is_open_for_http = True
        """False on a TLS port before the handshake is done: no answer can be sent."""

    async def handshake(self, context: ssl.SSLContext, by: float) -> None:
        """Become a TLS server; plain HTTP gets an answer with the reason."""
        self.is_open_for_http = False
        try:
            self._socket.getpeername()  # if the client is gone, `wrap_socket` raises and loses the descriptor
            wrapped = context.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            self.is_closed = self._socket.fileno() < 0
            raise self._broken(error) from error
        self._socket = wrapped
        await self._wait_for(wrapped.do_handshake, by, write=False)
        self.is_open_for_http = True

    async def receive(self, by: float) -> bytes:
        """The next bytes; empty if the client has closed."""
        return await self._wait_for(lambda: self._socket.recv(READ_BYTES), by, write=False)

    async def send(self, data: bytes, limit_s: float) -> None:
        """Send everything; the client must accept each 64 KiB within `limit_s` seconds."""
        view = memoryview(data)
        while view:
            chunk, by = view[:CHUNK_BYTES], monotonic() + limit_s
            view = view[CHUNK_BYTES:]
            while chunk:
                chunk = chunk[await self._wait_for(partial(self._socket.send, chunk), by, write=True) :]

    def try_receive(self) -> bytes | None:
        """What has arrived; None if nothing has, empty if the client has closed."""
        return self._attempt(lambda: self._socket.recv(READ_BYTES))

    def try_send(self, view: memoryview) -> int:
        """How many of these bytes the kernel takes now."""
        return self._attempt(lambda: self._socket.send(view)) or 0

    @property
    def is_writable(self) -> bool:
        """Whether the kernel has room."""
        if self.is_closed:
            return True  # for the attempt that says why not
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        return bool(poller.poll(0))

    def on_readable(self, callback: Callable[[], None] | None) -> None:
        """Call back when bytes arrive; None ends it."""
        if callback is not None and not self.is_closed:
            self._loop.add_reader(self._socket, callback)
        elif not self.is_closed:
            self._loop.remove_reader(self._socket)

    def on_writable(self, callback: Callable[[], None] | None) -> None:
        """Call back when the kernel takes bytes; None ends it."""
        if callback is not None and not self.is_closed:
            self._loop.add_writer(self._socket, callback)
        elif not self.is_closed:
            self._loop.remove_writer(self._socket)

    def refuse(self, answer: bytes) -> None:
        """Answer as far as possible without waiting, and close."""
        with suppress(OSError):
            if self.is_open_for_http:
                # Closing with unread bytes resets the connection, and the client loses the answer.
                self.try_receive()
                self.try_send(memoryview(answer))
        self.close()

    async def linger(self, wait_s: float, limit: int) -> None:
        """Close after an answer to a request that was not read: the client must not lose the answer.

        Reads on for `wait_s` seconds or `limit` bytes, until the client closes.
        """
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            by = monotonic() + wait_s
            # Past TLS: after its end OpenSSL may report what still comes as an error.
            read = partial(socket.socket.recv, self._socket, CHUNK_BYTES)
            while limit > 0 and (data := await self._wait_for(read, by, write=False)):
                limit -= len(data)
        self.close()

    def shutdown(self, how: int) -> None:
        """End one or both directions of the TCP connection."""
        with suppress(OSError):
            if isinstance(self._socket, ssl.SSLSocket):
                with suppress(OSError, ValueError):
                    self._socket.unwrap()  # says that this is the end, without waiting for the answer
            # Not the method of an SSLSocket, which would read on without TLS.
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Close the descriptor. May be called twice."""
        if not self.is_closed:
            self.on_readable(None)
            self.on_writable(None)
            self.shutdown(socket.SHUT_RDWR)
            self.is_closed = True
            self._socket.close()

    async def _wait_for(self, attempt: Callable[[], T], by: float, *, write: bool) -> T:
        while True:
            try:
                return attempt()
            except _NOT_NOW as error:
                is_tls = isinstance(error, ssl.SSLError)
                await self._ready(by, write=isinstance(error, ssl.SSLWantWriteError) if is_tls else write)
            except OSError as error:
                raise self._broken(error) from error

    def _attempt(self, attempt: Callable[[], T]) -> T | None:
        try:
            return attempt()
        except _NOT_NOW:
            return None
        except OSError as error:
            raise self._broken(error) from error

    def _broken(self, error: OSError) -> ConnectionResetError:
        if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
            with suppress(OSError):  # past TLS: the client speaks plain HTTP
                socket.socket.send(self._socket, _TLS_REQUIRED)
        return ConnectionResetError(errno.ECONNRESET, str(error))

    async def _ready(self, by: float, *, write: bool) -> None:
        if by <= monotonic():
            raise TimeoutError("the client took too long")
        ready: asyncio.Future[bool] = self._loop.create_future()
        listen = self.on_writable if write else self.on_readable
        listen(lambda: None if ready.done() else ready.set_result(True))
        timer = None if by == math.inf else self._loop.call_later(by - monotonic(), _expire, ready)
        try:
            if not await ready:
                raise TimeoutError("the client took too long")
        finally:
            listen(None)
            if timer is not None:
                timer.cancel()


def _expire(ready: asyncio.Future[bool]) -> None:
    if not ready.done():
        ready.set_result(False)
