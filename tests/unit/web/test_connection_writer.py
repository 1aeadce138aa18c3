"""What waits for a client, on a real pair of sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from appliance.web.transport.connection_writer import MOST_WAITING_BYTES, ConnectionWriter
from appliance.web.transport.socket_stream import SocketStream

MESSAGE = b"m" * 1000


def with_writer(use: Callable[[ConnectionWriter, socket.socket], None]) -> None:
    """Run `use(writer, client)` in an event loop."""

    async def run() -> None:
        server, client = socket.socketpair()
        with client:
            writer = ConnectionWriter(SocketStream(server), 4.0, lambda job: None)
            try:
                use(writer, client)
            finally:
                writer.end()

    asyncio.run(run())


def test_ok__a_client_that_stops_reading_is_dropped_however_much_it_has_read() -> None:
    def use(writer: ConnectionWriter, client: socket.socket) -> None:
        read = 0
        while read < 2 * MOST_WAITING_BYTES:
            writer.send(MESSAGE)
            read += len(client.recv(len(MESSAGE)))
        sent = 0
        while not writer.has_ended and sent < 2 * MOST_WAITING_BYTES:
            writer.send(MESSAGE * 100)
            sent += 100 * len(MESSAGE)
        assert writer.has_ended, f"{sent} bytes wait for a client that reads nothing"

    with_writer(use)


def test_ok__a_client_that_reads_late_gets_everything_below_the_limit() -> None:
    def use(writer: ConnectionWriter, client: socket.socket) -> None:
        for _ in range(MOST_WAITING_BYTES // 2 // len(MESSAGE)):
            writer.send(MESSAGE)
        assert not writer.has_ended
        assert not writer.is_idle

    with_writer(use)
