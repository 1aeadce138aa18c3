"""One client's connection, plain or TLS, with a time limit on every read and write."""

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

CHUNK_BYTES = 65536  # a client must accept this much within the send limit; a long export may take longer
LATE_S = 0.1  # for the last answer to a client that missed its limit

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Type: text/plain\r\n"
    b"Content-Length: 20\r\nConnection: close\r\n\r\ntoo busy, try again\n"
)
"""The answer when no thread is free, or when the client holds too many connections."""

_TLS_REQUIRED = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 58\r\nConnection: close\r\n\r\n"
    b"This page is encrypted: its address begins with https://.\n"
)
"""The answer to plain HTTP on a TLS port."""

_log = logging.getLogger("appliance.web")


class TimedSocket:
    """A client's socket, plain or TLS, on which no read or write takes longer than its limit.

    A slow client raises `TimeoutError` and a broken connection `ConnectionResetError`, whatever the layer
    below raises, so that a fault of the client never looks like one of ours.
    """

    def __init__(self, sock: socket.socket, limit_s: float) -> None:
        self._socket, self._limit_s = sock, limit_s
        self._buffer = bytearray()
        self.read_by = math.inf
        """Monotonic seconds by which the current request must have arrived completely."""

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._socket.fileno()

    def has_data(self) -> bool:
        """Whether bytes were received that have not been read yet."""
        return bool(self._buffer)

    def readline(self, size: int) -> bytes:
        """A line with its end; less at `size` bytes or when the client has closed."""
        while b"\n" not in self._buffer and len(self._buffer) < size and self._fill():
            pass
        return self._pop(min(size, self._buffer.find(b"\n") + 1 or size))

    def read(self, size: int) -> bytes:
        """`size` bytes; less only when the client has closed."""
        while len(self._buffer) < size and self._fill():
            pass
        return self._pop(size)

    def receive(self, wait_s: float) -> bytes | None:
        """The next bytes, empty if the client has closed, None if nothing came within `wait_s` seconds."""
        return self._pop(CHUNK_BYTES) if self._buffer else self._receive(wait_s)

    def arrived(self, size: int, within_s: float = 0.0) -> bool:
        """Whether `size` bytes are in the buffer, or arrive within `within_s` seconds."""
        by = monotonic() + within_s
        while len(self._buffer) < size and (received := self._receive(max(0.0, by - monotonic()))):
            self._buffer += received
        return len(self._buffer) >= size

    def refuse(self, answer: bytes) -> None:
        """Answer as far as possible without waiting, and close: for a thread that must not wait."""
        with suppress(OSError):
            # Closing with unread bytes resets the connection, and the client loses the answer.
            self.arrived(CHUNK_BYTES)
            self._socket.settimeout(0.0)
            self._socket.send(answer)
        self.close()

    def write(self, data: bytes, within_s: float = math.inf) -> None:
        """Send everything; drop a client that does not take a chunk within the limit, or `within_s`."""
        view = memoryview(data)
        for start in range(0, len(view), CHUNK_BYTES):
            self._send(view[start : start + CHUNK_BYTES], min(self._limit_s, within_s))

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """End the connection from any thread: a thread that reads or writes on it wakes at once."""
        with suppress(OSError):  # ended already
            # Not TLS's own shutdown, which would free the TLS session while another thread uses it.
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Close the descriptor. May be called twice."""
        self.shutdown()
        self._socket.close()

    def _pop(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _fill(self) -> bool:
        left_s = min(self._limit_s, self.read_by - monotonic())
        received = self._receive(left_s) if left_s > 0 else None
        if received is None:
            self._limit_s = LATE_S
            raise TimeoutError("timed out")  # cheroot matches these words
        self._buffer += received
        return bool(received)

    def _receive(self, wait_s: float) -> bytes | None:
        try:
            self._socket.settimeout(wait_s)
            return self._socket.recv(CHUNK_BYTES)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":
                with suppress(OSError):
                    socket.socket.send(
                        self._socket, _TLS_REQUIRED
                    )  # bypass TLS: the client speaks plain HTTP
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
            pass  # the deadline of this send is that of the chunk
        except OSError as error:
            raise ConnectionResetError(errno.ECONNRESET, f"while writing: {error}") from error
        if view:
            _log.info("a client that took nothing for %.1f s was dropped", limit_s)
            raise ConnectionResetError(errno.ECONNRESET, "took too long to read")


@dataclass(frozen=True)
class Connection:
    """What a view needs to switch from HTTP to another protocol after status 101."""

    socket: TimedSocket
    stopping: threading.Event
