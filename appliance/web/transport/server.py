"""Serves the Flask application: the only file that names the WSGI server, cheroot.

One thread for each busy connection and none for a silent one, limits on every read and write, small send
buffers: a viewer who stops reading costs neither memory nor another client's connection. Measured in
docs/decisions/0002-web-server.md.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any

from cheroot.errors import FatalSSLAlert
from cheroot.server import HTTPConnection, HTTPRequest, HTTPServer
from cheroot.ssl import Adapter
from cheroot.wsgi import Gateway_10

from appliance.errors import WorkerStuck
from appliance.web.transport.connection import BUSY, CONNECTION, MAX_BODY_BYTES, Connection, TimedSocket
from appliance.web.transport.connection_limiter import ConnectionLimiter
from appliance.web.transport.listener import open_listener
from appliance.web.transport.thread_pool import ThreadPool
from appliance.web.transport.tls import CertificateFiles, ReloadingTls

BODY_S = 5.0  # for a complete request body
REFUSED_BODY_S = 0.2  # for the rest of a refused body: if it is cut off, the client may miss the answer
LISTENER_S = 10.0  # handing over a connection takes far less, unless the listener hangs
BACKLOG = 64
MAX_SILENT = 256  # silent connections: each costs a descriptor and no thread

_LISTENER_CLOSED = (errno.EBADF, errno.EINVAL, errno.ENOTSOCK)  # other errors of accept() are temporary

_log = logging.getLogger("appliance.web")


class _SocketAdapter(Adapter):
    """Cheroot's adapter for TLS, used for plain connections too: both become a `TimedSocket`."""

    def __init__(self, tls: ReloadingTls | None, limit_s: float, buffer_bytes: int) -> None:
        self._tls, self._limit_s, self._buffer_bytes = tls, limit_s, buffer_bytes

    def bind(self, sock: socket.socket) -> socket.socket:
        return sock

    def wrap(self, sock: socket.socket) -> tuple[TimedSocket, dict[str, Any]]:
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._buffer_bytes)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                # The handshake happens at the first read, in the connection's thread and within its limit.
                context = self._tls.context()
                sock = context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as error:
            sock.close()
            raise FatalSSLAlert(str(error)) from error
        return TimedSocket(sock, self._limit_s), self.get_environ()

    def get_environ(self) -> dict[str, Any]:
        return {"wsgi.url_scheme": "http" if self._tls is None else "https"}

    def makefile(self, sock: TimedSocket, mode: str = "r", bufsize: int = -1) -> TimedSocket:
        return sock


class _Request(HTTPRequest):
    def parse_request(self) -> None:
        self.conn.socket.read_by = monotonic() + self.server.timeout
        super().parse_request()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        self.conn.socket.read_by = monotonic() + BODY_S
        if self.chunked_read:  # browsers never send it, and cheroot reports its faults as errors of ours
            self.simple_response("411 Length Required")
            return False
        if not self.inheaders.get(b"Content-Length", b"0").isdigit():
            self.simple_response("400 Bad Request", "Malformed Content-Length.")
            return False
        return True

    def send_headers(self) -> None:
        left = getattr(self.rfile, "remaining", 0)
        unwanted = self.close_connection or self.method in (b"GET", b"HEAD") or int(self.status[:3]) >= 400
        # Cheroot would wait for the complete body of a refused request, however slowly it arrives.
        if left and unwanted and not self.conn.socket.arrived(left, REFUSED_BODY_S):
            self.close_connection = True
        super().send_headers()


class _HttpConnection(HTTPConnection):
    RequestHandlerClass = _Request
    counted = False

    def close(self) -> None:
        if self.counted:
            self.counted = False
            self.server.limiter.release(self.remote_addr)
        super().close()


class _Gateway(Gateway_10):
    def get_environ(self) -> dict[str, Any]:  # type: ignore[override]  # cheroot's stub says None
        environ: dict[str, Any] = super().get_environ()  # type: ignore[no-untyped-call]
        environ[CONNECTION] = Connection(self.req.conn.socket, self.req.server.stopping)
        return environ

    def start_response(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if status.startswith("101"):
            self.req.close_connection = True  # what follows is not HTTP
        return super().start_response(status, headers, exc_info)


class _HttpServer(HTTPServer):
    ConnectionClass = _HttpConnection
    expiration_interval = 0.2  # seconds; also how long a stop waits for the listener
    _connections: Any
    handing_over_since: float | None = None

    def __init__(
        self, app: WsgiApp, listener: socket.socket, limit: int, limiter: ConnectionLimiter, name: str
    ) -> None:
        self.limiter = limiter
        super().__init__(listener.getsockname()[:2], _Gateway, server_name="interview-grader")
        self.wsgi_app, self._listener = app, listener
        self.software = self.server_name
        self.request_queue_size, self.keep_alive_conn_limit = BACKLOG, MAX_SILENT
        self.requests = ThreadPool(self, limit, name)
        self.stopping = threading.Event()

    def bind(self, family: int, type: int, proto: int = 0) -> socket.socket:
        self.socket = self._listener
        return self._listener

    def process_conn(self, conn: _HttpConnection) -> None:
        self.handing_over_since = monotonic()
        try:
            self._hand_over(conn)
        finally:
            self.handing_over_since = None

    def _hand_over(self, conn: _HttpConnection) -> None:
        if conn.last_used is None:
            conn.counted = self.limiter.acquire(conn.remote_addr)
            if not conn.counted:
                _log.info("%s has too many connections: one more was refused", conn.remote_addr)
                return self._refuse(conn)
            if self.can_add_keepalive_connection:
                self.put_conn(conn)  # new: it gets a thread at its first byte
                return
        try:
            self.requests.put(conn)
        except queue.Full:
            _log.warning("every http-N thread is busy: a connection was refused")
            self._refuse(conn)

    def _refuse(self, conn: HTTPConnection) -> None:
        conn.socket.refuse(BUSY)
        conn.close()

    def serve(self) -> None:
        while self.ready:
            try:
                self._connections.run(self.expiration_interval)
            except (OSError, RuntimeError, MemoryError) as error:
                if getattr(error, "errno", None) in _LISTENER_CLOSED:
                    raise
                _log.warning("cannot take connections now: %s", error)
                self.stopping.wait(self.expiration_interval)

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        _log.log(level if traceback else logging.DEBUG, "%s", msg, exc_info=traceback)


WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Server:
    """The web server of one application.

    `bind` opens the port, `serve` is the body of the thread `http`, `stop` ends it and every `http-N`.
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
        tls: Callable[[], CertificateFiles] | None = None,
        max_header_bytes: int = 16384,
        max_body_bytes: int = MAX_BODY_BYTES,
        limiter: ConnectionLimiter | None = None,
        name: str = "http",
        setting: str = "web.port",
    ) -> None:
        """`tls` returns the files of certificate and key; `name` is that of the threads, `setting` the
        configuration key of the port."""
        self.name, self._setting = name, setting
        self.app, self._host, self._port = app, host, port
        self._tls, self._limiter = ReloadingTls(tls) if tls else None, limiter or ConnectionLimiter()
        self._max_connections, self._send_timeout_s = max_connections, send_timeout_s
        self._send_buffer_bytes = send_buffer_bytes
        self._max_header_bytes, self._max_body_bytes = max_header_bytes, max_body_bytes
        self._server: _HttpServer | None = None

    def bind(self) -> None:
        """Open the port; clients may connect from here on, and get answers once `serve` runs.

        Raises `ConfigError` if the address is unavailable or the certificate is unusable.
        """
        adapter = _SocketAdapter(self._tls, self._send_timeout_s, self._send_buffer_bytes)
        listener = open_listener(self._host, self._port, self._tls, self._setting)
        server = _HttpServer(self.app, listener, self._max_connections, self._limiter, self.name)
        server.ssl_adapter, server.timeout = adapter, self._send_timeout_s  # type: ignore[assignment]
        server.max_request_header_size = self._max_header_bytes
        server.max_request_body_size = self._max_body_bytes
        os.environ.pop("LISTEN_PID", None)  # otherwise cheroot listens on descriptor 3
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
        """Accept connections until `stop`; call `bind` first."""
        if self._server is None:
            raise RuntimeError("serve() before bind()")
        self._server.serve()

    def check_moving(self) -> None:
        """Raises `WorkerStuck` when the listener hangs: a new thread may never report that it started."""
        since = self._server.handing_over_since if self._server else None
        if since is not None and monotonic() - since > LISTENER_S:
            raise WorkerStuck(f"{self.name} has not moved for {monotonic() - since:.1f} s")

    def stop(self, deadline_s: float = 3.0) -> list[str]:
        """End every thread of the server; returns the names of those still alive after `deadline_s` seconds.

        Unfinished answers get up to a second, WebSockets close with code 1001, then connections are cut.
        May be called twice, and before `serve`.
        """
        if self._server is None:
            return []
        self._server.stopping.set()
        try:
            self.check_moving()
        except WorkerStuck:
            return [self.name]
        threads_s = max(0.1, deadline_s - self._server.expiration_interval)
        self._server.shutdown_timeout = threads_s  # type: ignore[assignment]
        self._server.stop()
        return [thread.name for thread, _conn in self._server.requests.busy()]
