"""WebSockets, served by the event loop.

The protocol is that of the `websockets` library; this module connects it to WSGI and to a
`ConnectionWriter`. A client is dropped that answers no ping, accepts no message, or floods the server.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response
from websockets import frames
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.takeover import Takeover

MAX_MESSAGE_BYTES = 4096
PING_S = 2.5
PONG_S = 6.0
CLOSE_S = 0.5  # for the client's answer to our close; without the wait our close may be lost
MOST_FRAMES = 500
"""Frames that a client may send within half a second, pings included: more would delay all other clients."""

_SLICE_BYTES = 4096  # parsed at once, so that a flood ends before all of it is parsed

CloseCode = frames.CloseCode
"""Why a WebSocket is closed."""

Message = str | bytes
View = TypeVar("View", bound=Callable[..., Response])


def frame(message: Message) -> bytes:
    """A message as a server sends it; the same bytes for every client."""
    protocol = Protocol(Side.SERVER, state=State.OPEN)
    if isinstance(message, str):
        protocol.send_text(message.encode())
    else:
        protocol.send_binary(message)
    return b"".join(protocol.data_to_send())


class WebSocket:
    """A connected client, in the event loop's thread. No method waits, and none raises when it is gone.

    `writer`: the connection below, for a `Broadcast` and its callbacks. Messages that were framed by `frame`
    are sent with `writer.send`; `writer.drained` is called when the client has room for the next.
    A client that sends more than `MOST_FRAMES` ends with 1008.
    """

    def __init__(self, writer: ConnectionWriter, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        """A longer message of the client ends it with 1009."""
        self.writer = writer
        self.received: Callable[[Message], None] = lambda message: None
        """Called with each complete message of the client: text or bytes."""
        self.ticked: Callable[[], None] = lambda: None
        """Called twice a second."""
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=max_message_bytes)
        self._message = bytearray()
        self._is_text = False
        self._frames = 0  # since the last tick
        self._heard_at, self._pinged_at = monotonic(), 0.0
        writer.received, writer.ticked = self._take, self._tick
        writer.stopping = self.close

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._protocol.state is State.OPEN and not self.writer.has_ended

    def send(self, message: Message) -> None:
        """Send one message, after those that wait."""
        if self.open:
            self.writer.send(frame(message))

    def close(self, code: int = CloseCode.GOING_AWAY, reason: str = "") -> None:
        """Close with `code`; the client has a moment to close too. May be called twice.

        `reason`: a sentence for people who debug a client; what exceeds the 123 bytes of the protocol is cut.
        """
        if self.open:
            self._protocol.send_close(code, reason.encode()[:123].decode(errors="ignore"))
            self._flush()
        self.writer.finish(CLOSE_S)

    def _take(self, data: bytes) -> None:
        self._heard_at, self._pinged_at = monotonic(), 0.0
        for at in range(0, len(data), _SLICE_BYTES):
            self._protocol.receive_data(data[at : at + _SLICE_BYTES])
            for event in self._protocol.events_received():
                if isinstance(event, frames.Frame) and self.open:
                    self._take_frame(event)
            self._flush()
        if self._protocol.close_expected():
            self.writer.finish(CLOSE_S)

    def _take_frame(self, event: frames.Frame) -> None:
        self._frames += 1
        if self._frames > MOST_FRAMES:
            self._protocol.fail(
                CloseCode.POLICY_VIOLATION, f"more than {MOST_FRAMES} frames in half a second"
            )
            return
        if event.opcode in (frames.Opcode.TEXT, frames.Opcode.BINARY):
            self._is_text = event.opcode is frames.Opcode.TEXT
        elif event.opcode is not frames.Opcode.CONT:
            return
        self._message += event.data
        if not event.fin:
            return
        data, self._message = bytes(self._message), bytearray()
        try:
            message = data.decode() if self._is_text else data
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
            return
        self.received(message)

    def _tick(self) -> None:
        now, self._frames = monotonic(), 0
        if self._pinged_at:
            if now - self._pinged_at > PONG_S:
                self.writer.drop("answered no ping")
        elif now - self._heard_at > PING_S and self.open:
            self._pinged_at = now
            self._protocol.send_ping(b"")
            self._flush()
        if self.open:
            self.ticked()

    def _flush(self) -> None:
        parts = self._protocol.data_to_send()
        self.writer.send(b"".join(parts))
        if b"" in parts:  # the end of our half of the connection
            self.writer.finish(CLOSE_S)


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


def upgrade(
    environ: dict[str, Any],
    serve: Callable[[WebSocket], None],
    *,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
) -> Response:
    """The response of a view that opens a WebSocket.

    A request that is not a WebSocket handshake gets 426 or 400. Else the status is 101, and `serve` is called
    in the event loop once the client is connected: it sets callbacks and returns. What the view adds with
    `Response.call_on_close` is called when the client is gone. When the server stops, the WebSocket closes
    with code 1001, going away. A longer message of the client than `max_message_bytes` closes it with 1009,
    and too many messages close it with 1008.
    """
    answer = ServerProtocol().accept(_handshake(environ))
    headers = list(answer.headers.raw_items())
    if answer.status_code != 101:
        return Response(bytes(answer.body or b""), answer.status_code, headers)
    response = Takeover(lambda writer: serve(WebSocket(writer, max_message_bytes)), 101, headers)
    del response.headers["Content-Type"]
    return response


def _handshake(environ: dict[str, Any]) -> Request:
    names = ("CONNECTION", "UPGRADE", "SEC_WEBSOCKET_KEY", "SEC_WEBSOCKET_VERSION")
    present = {name.replace("_", "-"): environ[f"HTTP_{name}"] for name in names if f"HTTP_{name}" in environ}
    if environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        present.pop("UPGRADE", None)  # RFC 9110, 7.8
    return Request(environ.get("PATH_INFO", "/"), Headers(present))
