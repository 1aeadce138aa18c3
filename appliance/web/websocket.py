"""One client's connection with a limit on everything, and WebSockets on it, in the connection's own thread.

The protocol is the `websockets` library's; this file joins it to WSGI. A client that stops reading is gone
after a ping that it does not answer or a message that it does not take.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response
from websockets.datastructures import Headers
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from appliance.errors import SlotClosed

CONNECTION = "appliance.connection"
"""Key in the WSGI environ under which a view finds its `Connection`."""

SLICE_BYTES = 65536  # what a client must take within the send limit, so that a long export may take longer
PATIENCE_S = 0.1  # for the farewell to a client that was late already
MAX_MESSAGE_BYTES = 4096
PING_S = 3.0
PONG_S = 4.0
FAREWELL_S = 0.3  # for the client's answer to our close; without it the close itself may be lost
MAX_READS = 16  # in a row, so that a client that sends without end does not keep us from sending

View = TypeVar("View", bound=Callable[..., Response])

_log = logging.getLogger("appliance.web")


class Wire:
    """One client's connection, plain or TLS, on which nothing takes longer than its limit.

    A late reader or writer and a broken connection are `TimeoutError` and `ConnectionResetError`, whatever
    the layer below calls them, so that a client's fault is never taken for one of ours.
    """

    def __init__(self, sock: socket.socket, limit_s: float) -> None:
        self._socket, self._limit_s = sock, limit_s
        self._buffer = bytearray()
        self.read_by = math.inf
        """Monotonic seconds by which the request in hand must have come, however slowly it trickles."""

    def fileno(self) -> int:
        """Descriptor for a selector."""
        return self._socket.fileno()

    def has_data(self) -> bool:
        """True if bytes were received that nobody has read yet."""
        return bool(self._buffer)

    def readline(self, size: int) -> bytes:
        """A line with its end, or less: `size` bytes at most, or all there is when the client has closed."""
        while b"\n" not in self._buffer and len(self._buffer) < size and self._fill():
            pass
        return self._take(min(size, self._buffer.find(b"\n") + 1 or size))

    def read(self, size: int) -> bytes:
        """`size` bytes, less only when the client has closed."""
        while len(self._buffer) < size and self._fill():
            pass
        return self._take(size)

    def receive(self, wait_s: float) -> bytes | None:
        """What came: bytes, none if the client has closed; None if nothing came for `wait_s` seconds."""
        return self._take(SLICE_BYTES) if self._buffer else self._receive(wait_s)

    def write(self, data: bytes) -> None:
        """Send all of it; the client is dropped if it does not take a slice within the limit."""
        view = memoryview(data)
        for start in range(0, len(view), SLICE_BYTES):
            self._send(view[start : start + SLICE_BYTES])

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection from any thread: whoever reads or writes on it wakes at once."""
        with suppress(OSError):  # ended already
            # Not TLS's own shutdown, which would take the session away from under another thread.
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Give the descriptor back. May be called twice."""
        self.shutdown()
        self._socket.close()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _fill(self) -> bool:
        left_s = min(self._limit_s, self.read_by - monotonic())
        received = self._receive(left_s) if left_s > 0 else None
        if received is None:
            self._limit_s = PATIENCE_S
            raise TimeoutError("timed out")  # the words by which cheroot knows it
        self._buffer += received
        return bool(received)

    def _receive(self, wait_s: float) -> bytes | None:
        try:
            self._socket.settimeout(wait_s)
            return self._socket.recv(SLICE_BYTES)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"while reading: {error}") from error

    def _send(self, view: memoryview) -> None:
        by = monotonic() + self._limit_s
        try:
            while view and (left_s := by - monotonic()) > 0:
                self._socket.settimeout(left_s)
                view = view[self._socket.send(view) :]
        except TimeoutError:
            pass  # the limit of this send is the limit of the slice
        except OSError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"while writing: {error}") from error
        if view:
            _log.info("a client that took nothing for %.1f s was dropped", self._limit_s)
            raise ConnectionResetError(errno.ECONNRESET, "took too long to read")


@dataclass(frozen=True)
class Connection:
    """What a view needs to leave HTTP for another protocol after the status 101."""

    wire: Wire
    stopping: threading.Event


class WebSocket:
    """A connected client. All methods belong to the connection's thread; none raises because it is gone."""

    def __init__(self, connection: Connection) -> None:
        self._wire, self._stopping = connection.wire, connection.stopping
        self._protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MAX_MESSAGE_BYTES)
        self._gone = False
        self._pinged = monotonic()
        self._answered = True

    @property
    def open(self) -> bool:
        """True while messages can be sent: the client is there and the server is not stopping."""
        return self._protocol.state is State.OPEN and not self._gone and not self._stopping.is_set()

    def send(self, text: str) -> None:
        """Send one message; a client that does not take it within the server's send limit is dropped."""
        if self.open:
            self._protocol.send_text(text.encode())
            self._flush()

    def service(self) -> None:
        """Answer what the client sent and see that it is alive, without waiting. Call it twice a second."""
        for _ in range(MAX_READS):
            if self._gone or not self._read(0.0):
                break
        if not self._gone:
            self._check_pulse()

    def close(self, code: int = CloseCode.GOING_AWAY) -> None:
        """Say goodbye with `code` and wait shortly for the client's own goodbye. May be called twice."""
        if not self._gone and self._protocol.state is State.OPEN:
            self._protocol.send_close(code)
            self._flush()
        by = monotonic() + FAREWELL_S
        while not self._gone and self._protocol.close_rcvd is None and (left_s := by - monotonic()) > 0:
            self._read(left_s)
        self._gone = True

    def _read(self, wait_s: float) -> bool:
        """Read once and answer it. False if nothing came within `wait_s` seconds or nothing more can."""
        try:
            data = self._wire.receive(wait_s)
        except ConnectionError as error:
            return self._lose(str(error))
        if data is None:
            return False
        if not data:
            self._protocol.receive_eof()
            return self._lose("closed by the client")
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.PONG:
                self._answered = True
        self._flush()
        return True

    def _check_pulse(self) -> None:
        waited_s = monotonic() - self._pinged
        if not self._answered and waited_s > PONG_S:
            self._lose(f"no answer to a ping for {waited_s:.1f} s")
            self._wire.shutdown()
        elif self._answered and waited_s > PING_S and self.open:
            self._pinged, self._answered = monotonic(), False
            self._protocol.send_ping(b"")
            self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if self._gone:
                return
            try:
                # An empty item is the protocol's word for the end of our half of the connection.
                self._wire.write(data) if data else self._wire.shutdown(socket.SHUT_WR)
            except ConnectionError as error:
                self._lose(str(error))

    def _lose(self, reason: str) -> bool:
        self._gone = True
        _log.debug("a WebSocket ended: %s", reason)
        return False


def serve(client: WebSocket, next_text: Callable[[], str | None]) -> None:
    """Send what `next_text` returns until the client is gone.

    `next_text` waits 0.5 s at most and returns the newest message, or None if there is nothing new.
    """
    while client.open:
        text = next_text()
        if text is not None:
            client.send(text)
        client.service()


def route(app: Flask | Blueprint, path: str) -> Callable[[View], View]:
    """Register a view that returns `websocket(...)`, as `app.get(path)` would.

    Flask keeps openings of WebSockets and plain requests apart; this takes both, so that a plain one is told
    what it lacks (426).
    """

    def register(view: View) -> View:
        for opening in (True, False):
            app.get(path, websocket=opening)(view)
        return view

    return register


def websocket(environ: dict[str, Any], talk: Callable[[WebSocket], None]) -> Response:
    """The response of a view that speaks WebSocket: `talk` runs while the client is there.

    A request that is not a WebSocket's opening gets 426 or 400. When `talk` returns, or ends with
    `SlotClosed`, the client is told that the server goes away (1001).
    """
    answer = ServerProtocol().accept(_opening(environ))
    headers = list(answer.headers.raw_items())
    if answer.status_code != 101:
        return Response(bytes(answer.body or b""), answer.status_code, headers)
    return _Upgrade(talk, headers)


def _opening(environ: dict[str, Any]) -> Request:
    names = ("CONNECTION", "UPGRADE", "SEC_WEBSOCKET_KEY", "SEC_WEBSOCKET_VERSION")
    present = {name.replace("_", "-"): environ[f"HTTP_{name}"] for name in names if f"HTTP_{name}" in environ}
    return Request(environ.get("PATH_INFO", "/"), Headers(present))


class _Upgrade(Response):
    """Status 101, then the talk, in the place where a body would be sent."""

    def __init__(self, talk: Callable[[WebSocket], None], headers: list[tuple[str, str]]) -> None:
        super().__init__(status=101, headers=headers)
        del self.headers["Content-Type"]
        self._talk = talk

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("101 Switching Protocols", self.headers.to_wsgi_list())
        write(b"")  # sends the head
        client = WebSocket(environ[CONNECTION])
        code = CloseCode.INTERNAL_ERROR
        try:
            self._talk(client)
            code = CloseCode.GOING_AWAY
        except SlotClosed:
            code = CloseCode.GOING_AWAY
        finally:
            client.close(code)
            self.close()
        return []
