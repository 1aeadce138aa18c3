"""Serves the Flask application: the only file that names the WSGI server, cheroot.

One thread per busy connection and none for a silent one, limits on every read and write, small send buffers:
a viewer who stops reading costs neither memory nor anybody else's place. Measured in
docs/decisions/0002-web-server.md.
"""

from __future__ import annotations

import errno
import logging
import math
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any

from cheroot.errors import FatalSSLAlert
from cheroot.server import HTTPConnection, HTTPRequest, HTTPServer
from cheroot.ssl import Adapter
from cheroot.wsgi import Gateway_10

from appliance.errors import ConfigError

CONNECTION = "appliance.connection"
"""Key in the WSGI environ under which a view finds its `Connection`."""

BODY_S = 30.0  # a whole request body must have come by then
SLICE_BYTES = 65536  # what a client must take within the send limit, so that a long export may take longer
PATIENCE_S = 0.1  # for the farewell to a client that was late already
BACKLOG = 64
WAITING = 256  # silent connections: each costs a descriptor and no thread
GRACE_S = 1.0  # for answers under way when the server stops; a WebSocket notices within 0.5 s

_PORT_FAULTS = {
    errno.EADDRINUSE: "another program listens on this port already; stop it or choose another port",
    errno.EACCES: "this port needs a privilege; choose one above 1023",
}

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


class _Wires(Adapter):
    """Cheroot's seam for TLS, used for plain connections too: both become a `Wire`."""

    def __init__(self, context: ssl.SSLContext | None, limit_s: float, buffer_bytes: int) -> None:
        self.context, self._limit_s, self._buffer_bytes = context, limit_s, buffer_bytes

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[Wire, dict[str, Any]]:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer_bytes)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                # The handshake comes with the first read, in the connection's own thread, under its limit.
                sock = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            sock.close()
            raise FatalSSLAlert(str(error)) from error
        return Wire(sock, self._limit_s), self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        return {"wsgi.url_scheme": "http" if self.context is None else "https"}

    def makefile(self, sock: Wire, mode: str = "r", bufsize: int = -1) -> Wire:
        return sock


class _Request(HTTPRequest):
    def parse_request(self) -> None:
        self.conn.socket.read_by = monotonic() + self.server.timeout
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        self.conn.socket.read_by = monotonic() + BODY_S
        if self.chunked_read:  # browsers do not send it, and its faults would surface as errors of ours
            self.simple_response("411 Length Required")
            return False
        if not self.inheaders.get(b"Content-Length", b"0").isdigit():
            self.simple_response("400 Bad Request", "Malformed Content-Length.")
            return False
        return True


class _HttpConnection(HTTPConnection):
    RequestHandlerClass = _Request


class _Gateway(Gateway_10):
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot's stub says None
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[CONNECTION] = Connection(self.req.conn.socket, self.req.server.stopping)
        return environ

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if status.startswith("101"):
            self.req.close_connection = True  # what follows is not HTTP
        return super().start_response(status, headers, exc_info)


class _Threads:
    """Cheroot's thread pool, by the interface it documents: `http-1` to `http-<limit>`, made when needed."""

    def __init__(self, server: _HttpServer, limit: int) -> None:
        self._server = server
        self._places: list[tuple[threading.Thread, HTTPConnection] | None] = [None] * limit

    def start(self) -> None:
        """Nothing to do: a thread starts with its connection."""

    def put(self, conn: HTTPConnection) -> None:
        for number, place in enumerate(self._places):
            if place is None or not place[0].is_alive():
                thread = threading.Thread(
                    target=self._attend, args=(conn,), name=f"http-{number + 1}", daemon=True
                )
                self._places[number] = (thread, conn)
                thread.start()
                return
        raise queue.Full

    def stop(self, timeout: float) -> None:
        by = monotonic() + timeout
        for _thread, conn in self.busy(min(by - timeout / 3, monotonic() + GRACE_S)):
            conn.socket.shutdown()
        for thread, _conn in self.busy(by):
            _log.error("%s did not end within %.1f s", thread.name, timeout)

    def busy(self, by: float = 0.0) -> list[tuple[threading.Thread, HTTPConnection]]:
        """Who still runs at the monotonic second `by`; waits for all until then."""
        places = [place for place in self._places if place is not None]
        for thread, _conn in places:
            thread.join(max(0.0, by - monotonic()))
        return [place for place in places if place[0].is_alive()]

    def _attend(self, conn: HTTPConnection) -> None:
        try:
            while conn.communicate():  # type: ignore[no-untyped-call]
                if not conn.socket.has_data():
                    return self._server.put_conn(conn)  # to wait for its next request without a thread
        except OSError as error:  # cheroot could not even send its answer to a broken request
            _log.debug("a connection broke: %s", error)
        conn.close()
        return None


class _HttpServer(HTTPServer):
    ConnectionClass = _HttpConnection
    expiration_interval = 0.2  # seconds; also how long a stop waits for the listener
    _connections: Any

    def __init__(self, app: WsgiApp, listener: socket.socket, limit: int) -> None:
        super().__init__(listener.getsockname()[:2], _Gateway, server_name="interview-grader")
        self.wsgi_app, self._listener = app, listener
        self.software = self.server_name
        self.request_queue_size, self.keep_alive_conn_limit = BACKLOG, WAITING
        self.requests = _Threads(self, limit)
        self.stopping = threading.Event()

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        self.socket = self._listener
        return self._listener

    def process_conn(self, conn: HTTPConnection) -> None:
        if conn.last_used is None and self.can_add_keepalive_connection:
            self.put_conn(conn)  # new: it gets a thread with its first byte
            return
        try:
            self.requests.put(conn)
        except queue.Full:
            _log.warning("every http-N thread is busy: a connection was refused")
            conn.close()

    def serve(self) -> None:
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except OSError as error:
                _log.warning("cannot take connections: %s", error)
                self.stopping.wait(self.expiration_interval)  # out of descriptors: some will come back

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        _log.log(level if traceback else logging.DEBUG, "%s", msg, exc_info=traceback)


WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server:
    """The web server of one application.

    `bind` takes the port, `serve` is the body of the thread `http`, `stop` ends both and every `http-N`.
    """

    def __init__(
        self,
        app: WsgiApp,
        host: str,
        port: int,
        *,
        max_connections: int,
        send_timeout_s: float = 4.0,
        send_buffer_bytes: int = 65536,
        tls: tuple[str, str] | None = None,
        max_header_bytes: int = 65536,
        max_body_bytes: int = 1 << 20,
    ) -> None:
        self._app, self._host, self._port, self._tls = app, host, port, tls
        self._max_connections, self._send_timeout_s = max_connections, send_timeout_s
        self._send_buffer_bytes = send_buffer_bytes
        self._max_header_bytes, self._max_body_bytes = max_header_bytes, max_body_bytes
        self._server: _HttpServer | None = None

    def bind(self) -> None:
        """Take the port; from here on clients may connect, and are answered once `serve` runs.

        Raises `ConfigError` if the address cannot be had or the certificate cannot be read.
        """
        wires = _Wires(self._context(), self._send_timeout_s, self._send_buffer_bytes)
        server = _HttpServer(self._app, self._listen(), self._max_connections)
        server.ssl_adapter, server.timeout = wires, self._send_timeout_s  # type: ignore[assignment]
        server.max_request_header_size = self._max_header_bytes
        server.max_request_body_size = self._max_body_bytes
        server.prepare()
        self._server = server

    @property
    def port(self) -> int:
        """The port that clients use; after `bind` never 0."""
        return self._port if self._server is None else int(self._server.bind_addr[1])

    @property
    def url(self) -> str:
        """Address of the page, as this machine's own browser would use it."""
        host = "localhost" if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/"

    def serve(self) -> None:
        """Take connections until `stop`; `bind` comes first."""
        if self._server is None:
            raise RuntimeError("serve() before bind()")
        self._server.serve()

    def stop(self, deadline_s: float = 3.0) -> list[str]:
        """End every thread of the server; returns the names of those still alive after `deadline_s` seconds.

        Answers under way get up to a second to finish, WebSockets say code 1001, then connections are cut.
        May be called twice, and before `serve`.
        """
        if self._server is None:
            return []
        self._server.stopping.set()
        self._server.shutdown_timeout = deadline_s  # type: ignore[assignment]
        self._server.stop()
        return [thread.name for thread, _conn in self._server.requests.busy()]

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(*self._tls)
        except OSError as error:
            reason = f"certificate and key cannot be used: {error}"
            raise ConfigError(reason, key="web.certificate", value=self._tls[0]) from error
        return context

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        address = (self._host, self._port)
        try:
            return socket.create_server(address, family=family, dualstack_ipv6=self._host == "::")
        except OSError as error:
            if error.errno in _PORT_FAULTS:
                raise ConfigError(_PORT_FAULTS[error.errno], key="web.port", value=self._port) from error
            raise ConfigError(f"cannot listen there: {error}", key="web.host", value=self._host) from error
