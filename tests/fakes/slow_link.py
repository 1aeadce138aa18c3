"""A slow or far link between a client and a server: a TCP proxy with a bandwidth and a delay."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK_BYTES = 1400
BUFFER_BYTES = 8192
"""Of the proxy's sockets: what waits for the link must wait in the sender, as with a real one."""


class SlowLink:
    """All connections through `port` share the link; its properties may change at any time."""

    def __init__(self, to_port: int, *, bits_per_s: float = 1e9, delay_s: float = 0.0) -> None:
        """`bits_per_s`: in each direction; `delay_s`: one way."""
        self.bits_per_s, self.delay_s = bits_per_s, delay_s
        self.port = 0
        self.bytes_down = 0
        """How many bytes came from the server."""
        self._to_port = to_port
        self._free_at = {"up": 0.0, "down": 0.0}
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen on a free port of loopback."""
        self._thread.start()
        assert self._ready.wait(10)

    def close(self) -> None:
        """Cut all connections."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        listener.setblocking(False)
        self.port = listener.getsockname()[1]
        accepting = self._loop.create_task(self._accept(listener))
        self._ready.set()
        await self._stop.wait()
        for task in (accepting, *self._tasks):
            task.cancel()
        await asyncio.gather(accepting, *self._tasks, return_exceptions=True)
        listener.close()

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            task = self._loop.create_task(self._connect(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self, client: socket.socket) -> None:
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        with client, server:
            for each in (client, server):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                await asyncio.sleep(2 * self.delay_s)  # TCP's own round trip
                await self._loop.sock_connect(server, ("127.0.0.1", self._to_port))
                ways = [
                    self._loop.create_task(self._carry(client, server, "up")),
                    self._loop.create_task(self._carry(server, client, "down")),
                ]
                try:
                    await asyncio.gather(*ways)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, source: socket.socket, target: socket.socket, way: str) -> None:
        flying: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(4096)
        landing = self._loop.create_task(self._land(flying, target))
        try:
            while not landing.done():
                data = await self._loop.sock_recv(source, CHUNK_BYTES)
                start = max(self._free_at[way], self._loop.time())
                self._free_at[way] = start + 8 * len(data) / self.bits_per_s
                await asyncio.sleep(self._free_at[way] - self._loop.time())
                self.bytes_down += len(data) if way == "down" else 0
                await flying.put((self._loop.time() + self.delay_s, data))
                if not data:
                    break
            await landing
        finally:
            landing.cancel()
            await asyncio.gather(landing, return_exceptions=True)

    async def _land(self, flying: asyncio.Queue[tuple[float, bytes]], target: socket.socket) -> None:
        while True:
            at, data = await flying.get()
            await asyncio.sleep(at - self._loop.time())
            if not data:
                with suppress(OSError):
                    target.shutdown(socket.SHUT_WR)
                return
            await self._loop.sock_sendall(target, data)


@contextmanager
def slow_link(to_port: int, *, bits_per_s: float = 1e9, delay_s: float = 0.0) -> Iterator[SlowLink]:
    """The link, for the length of the block."""
    link = SlowLink(to_port, bits_per_s=bits_per_s, delay_s=delay_s)
    link.start()
    try:
        yield link
    finally:
        link.close()
