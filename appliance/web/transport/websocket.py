"""WebSockets on a connection of the web server, served in the connection's own thread.

The protocol is that of the `websockets` library; this module connects it to WSGI. A client that stops reading
is dropped when it does not answer a ping or does not accept a message.
"""

from __future__ import annotations

import logging
import math
import socket
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from appliance.errors import SlotClosed
from appliance.web.transport.connection import CONNECTION, Connection

MAX_MESSAGE_BYTES = 4096
PING_S = 3.0
PONG_S = 4.0
CLOSE_S = 0.3  # for the client's answer to our close; without the wait our close may be lost
MAX_READS = 16  # in a row, so that a client that sends without end does not block our own sending

View = TypeVar("View", bound=Callable[..., Response])

_log = logging.getLogger("appliance.web")


class WebSocket:
    """A connected client. Call all methods from the connection's thread; none raises when it is gone."""

    def __init__(self, connection: Connection) -> None:
        self._socket, self._stopping = connection.socket, connection.stopping
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self._gone = False
        self._pinged = monotonic()
        self._answered = True

    @property
    def open(self) -> bool:
        """True while messages can be sent: the client is connected and the server is not stopping."""
        return self._protocol.state is State.OPEN and not self._gone and not self._stopping.is_set()

    def send(self, text: str) -> None:
        """Send one message; a client that does not take it within the server's send limit is dropped."""
        if self.open:
            self._protocol.send_text(text.encode())
            self._flush()

    def poll(self) -> None:
        """Answer what the client sent and check that it is alive, without waiting. Call it twice a second."""
        for _ in range(MAX_READS):
            if self._gone or not self._read(0.0):
                break
        if not self._gone:
            self._check_alive()

    def close(self, code: int = CloseCode.GOING_AWAY) -> None:
        """Close with `code` and wait briefly for the client to close too. May be called twice."""
        if not self._gone and self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()
        by = monotonic() + CLOSE_S
        while not self._gone and self._protocol.close_rcvd is None and (left_s := by - monotonic()) > 0:
            self._read(left_s)
        self._gone = True

    def _read(self, wait_s: float) -> bool:
        """Read once and answer it. False if nothing came within `wait_s` seconds or nothing more can."""
        try:
            data = self._socket.receive(wait_s)
        except ConnectionError as error:
            return self._drop(str(error))
        if data is None:
            return False
        if not data:
            self._protocol.receive_eof()
            return self._drop("closed by the client")
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self._answered = True
        self._flush()
        return True

    def _check_alive(self) -> None:
        waited_s = monotonic() - self._pinged
        if not self._answered and waited_s > PONG_S:
            self._drop(f"no answer to a ping for {waited_s:.1f} s")
            self._socket.shutdown()
        elif self._answered and waited_s > PING_S and self.open:
            self._pinged, self._answered = monotonic(), False
            self._protocol.send_ping(b"")
            self._flush()

    def _left_s(self) -> float:
        """How many seconds the client may still take to read; an unanswered ping keeps its own deadline."""
        return math.inf if self._answered else max(0.1, PONG_S - (monotonic() - self._pinged))

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._gone:
                return
            try:
                # The protocol marks the end of our half of the connection with an empty item.
                self._socket.write(data, self._left_s()) if data else self._socket.shutdown(socket.SHUT_WR)
            except ConnectionError as error:
                self._drop(str(error))

    def _drop(self, reason: str) -> bool:
        self._gone = True
        _log.debug("a WebSocket ended: %s", reason)
        return False


def send_messages(client: WebSocket, next_message: Callable[[], str | None]) -> None:
    """Send what `next_message` returns until the client is gone.

    `next_message` waits 0.5 s at most and returns the newest message, or None if there is nothing new.
    """
    while client.open:
        text = next_message()
        if text is not None:
            client.send(text)
        client.poll()


def route(app: Flask | Blueprint, path: str) -> Callable[[View], View]:
    """Register a view that returns `upgrade(...)`, as `app.get(path)` would.

    Flask routes WebSocket handshakes and plain requests apart; this takes both, so that a plain request
    gets 426.
    """

    def register(view: View) -> View:
        for is_handshake in (True, False):
            app.get(path, websocket=is_handshake)(view)
        return view

    return register


def upgrade(environ: dict[str, Any], serve: Callable[[WebSocket], None]) -> Response:
    """The response of a view that opens a WebSocket; `serve` runs while the client is connected.

    A request that is not a WebSocket handshake gets 426 or 400. When `serve` returns, or raises
    `SlotClosed`, the WebSocket closes with code 1001, going away.
    """
    answer = ServerProtocol().accept(_handshake(environ))
    headers = list(answer.headers.raw_items())
    if answer.status_code != 101:
        return Response(bytes(answer.body or b""), answer.status_code, headers)
    return _Upgrade(serve, headers)


def _handshake(environ: dict[str, Any]) -> Request:
    names = ("CONNECTION", "UPGRADE", "SEC_WEBSOCKET_KEY", "SEC_WEBSOCKET_VERSION")
    present = {name.replace("_", "-"): environ[f"HTTP_{name}"] for name in names if f"HTTP_{name}" in environ}
    return Request(environ.get("PATH_INFO", "/"), Headers(present))


class _Upgrade(Response):
    """Status 101; the WebSocket runs where another response would send its body."""

    def __init__(self, serve: Callable[[WebSocket], None], headers: list[tuple[str, str]]) -> None:
        super().__init__(status=101, headers=headers)
        del self.headers["Content-Type"]
        self._serve = serve

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        client = WebSocket(environ[CONNECTION])
        code = CloseCode.INTERNAL_ERROR
        try:
            write = start_response("101 Switching Protocols", self.headers.to_wsgi_list())
            write(b"")  # sends the head
            self._serve(client)
            code = CloseCode.GOING_AWAY
        except SlotClosed:
            code = CloseCode.GOING_AWAY
        finally:
            client.close(code)
            self.close()
        return []
