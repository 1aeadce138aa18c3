"""One client's connection, plain or TLS, with a limit on everything."""

from __future__ import annotations

import errno
import logging
import math
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

CONNECTION = "appliance.connection"
"""Key in the WSGI environ under which a view finds its `Connection`."""

MAX_BODY_BYTES = 64 * 1024
"""The largest body of a request that is read at all."""

SLICE_BYTES = 65536  # what a client must take within the send limit, so that a long export may take longer
PATIENCE_S = 0.1  # for the farewell to a client that was late already

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 20\r\nConnection: close\r\n\r\ntoo busy, try again\n"
)
"""To a client for whom there is no thread, or who holds too many connections."""

_SPEAKS_TLS = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 58\r\nConnection: close\r\n\r\n"
    b"This page is encrypted: its address begins with https://.\n"
)
"""To a client that speaks plain HTTP where TLS is spoken."""

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

    def arrived(self, size: int, within_s: float = 0.0) -> bool:
        """Whether `size` bytes are here or come within so many seconds; takes in what came."""
        by = monotonic() + within_s
        while len(self._buffer) < size and (received := self._receive(max(0.0, by - monotonic()))):
            self._buffer += received
        return len(self._buffer) >= size

    def refuse(self, answer: bytes) -> None:
        """Answer as far as that goes without waiting, and close: for a thread that must not wait."""
        with suppress(OSError):
            # Closing over unread bytes would be a reset, and the answer lost with it.
            self.arrived(SLICE_BYTES)
            self._socket.settimeout(0.0)
            self._socket.send(answer)
        self.close()

    def write(self, data: bytes, within_s: float = math.inf) -> None:
        """Send all of it; a client that does not take a slice within the limit, or `within_s`, is dropped."""
        view = memoryview(data)
        for start in range(0, len(view), SLICE_BYTES):
            self._send(view[start : start + SLICE_BYTES], min(self._limit_s, within_s))

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
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                with suppress(OSError):
                    socket.socket.send(self._socket, _SPEAKS_TLS)  # past TLS, which there is none of
            raise ConnectionResetError(errno.ECONNRESET, f"while reading: {error}") from error
        except OSError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"while reading: {error}") from error

    def _send(self, view: memoryview, limit_s: float) -> None:
        by = monotonic() + limit_s
        try:
            while view and (left_s := by - monotonic()) > 0:
                self._socket.settimeout(left_s)
                view = view[self._socket.send(view) :]
        except TimeoutError:
            pass  # the limit of this send is the limit of the slice
        except OSError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"while writing: {error}") from error
        if view:
            _log.info("a client that took nothing for %.1f s was dropped", limit_s)
            raise ConnectionResetError(errno.ECONNRESET, "took too long to read")


@dataclass(frozen=True)
class Connection:
    """What a view needs to leave HTTP for another protocol after the status 101."""

    wire: Wire
    stopping: threading.Event
