"""What waits for a client that is slow."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

from appliance.web.transport.connection_writer import MOST_WAITING_BYTES, ConnectionWriter
from appliance.web.transport.socket_stream import SocketStream

MB = 1024 * 1024


def with_client(check: Callable[[ConnectionWriter, socket.socket], Awaitable[None]]) -> None:
    """Run `check` with a writer and its client, connected by TCP."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client = socket.create_connection(listener.getsockname())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.setblocking(False)
            served, _ = listener.accept()
        writer = ConnectionWriter(SocketStream(served), 4.0, lambda job: None)
        writer.start()
        try:
            await check(writer, client)
        finally:
            writer.end()
            client.close()

    asyncio.run(run())


async def read(client: socket.socket, size: int) -> None:
    while size > 0:
        size -= len(await asyncio.get_running_loop().sock_recv(client, min(size, 65536)))


def test_a_client_with_too_much_to_take_is_dropped_whatever_it_took_before() -> None:
    async def check(writer: ConnectionWriter, client: socket.socket) -> None:
        writer.send(bytes(MOST_WAITING_BYTES - MB))
        await read(client, MOST_WAITING_BYTES - MB)
        writer.send(bytes(MOST_WAITING_BYTES - MB))
        assert not writer.has_ended
        writer.send(bytes(4 * MB))
        assert writer.has_ended

    with_client(check)


def test_only_what_has_begun_is_sent_once_it_is_no_longer_current() -> None:
    async def check(writer: ConnectionWriter, client: socket.socket) -> None:
        is_current = True
        writer.send(b"a" * 6 * MB, lambda: is_current)
        writer.send(b"b" * 100, lambda: is_current)
        writer.send(b"c" * 100)
        is_current = False
        await read(client, 6 * MB)
        assert await asyncio.get_running_loop().sock_recv(client, 1000) == b"c" * 100

    with_client(check)
