"""The web server: one event loop owns every connection, a small pool of threads runs the views.

A client that is slow, silent or stalled costs a few kB and no thread. Measured in
docs/decisions/0090-event-loop.md.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from appliance.errors import WorkerStuck
from appliance.web.transport.admission import Admission, Peer
from appliance.web.transport.connection import ClientConnection, LargeBodies, Settings
from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.listener import open_listener
from appliance.web.transport.socket_stream import SocketStream
from appliance.web.transport.thread_pool import ThreadPool
from appliance.web.transport.tls import CertificateFiles, ReloadingTls
from appliance.web.transport.wsgi import Connection, WsgiApp

MAX_BODY_BYTES = 64 * 1024
"""The largest body of a request that is read without asking the application."""

LARGE_AT_ONCE = 4
"""Larger bodies that are in memory at a time."""

TICK_S = 0.5
GRACE_S = 1.0  # to finish answers when the server stops
LOOP_S = 10.0  # within which the event loop must answer, and this many checks
_CHECKS = 3
_PAUSE_S = 0.2  # after an error of accept(), which is usually temporary
_ACCEPTED_AT_ONCE = 32

_log = logging.getLogger("appliance.web")


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
        threads: int = 16,
        per_address: int | None = None,
        exempt: Callable[[str], bool] | None = None,
        send_timeout_s: float = 4.0,
        send_buffer_bytes: int = 65536,
        tls: Callable[[], CertificateFiles] | None = None,
        max_header_bytes: int = 16384,
        max_body_bytes: int = MAX_BODY_BYTES,
        max_large_body_bytes: int = 0,
        name: str = "http",
        setting: str = "web.port",
    ) -> None:
        """`per_address` and `exempt` as in `Admission`; `tls` returns the files of certificate and key;
        a body above `max_body_bytes` and up to `max_large_body_bytes` is read if the application allows it,
        see `wsgi.HEAD_ONLY`;
        `name` is that of the threads, `setting` the configuration key of the port."""
        self.name, self.app, self._setting = name, app, setting
        self._host, self._port, self._send_buffer_bytes = host, port, send_buffer_bytes
        self._tls = ReloadingTls(tls) if tls else None
        self._pool = ThreadPool(threads, name)
        self._admission = Admission(max_connections, per_address, exempt)
        self._settings = Settings(
            app=app,
            pool=self._pool,
            admission=self._admission,
            tls=self._tls,
            server=lambda: (host, str(self.port)),
            send_s=send_timeout_s,
            max_header_bytes=max_header_bytes,
            max_body_bytes=max_body_bytes,
            large_bodies=LargeBodies(max_large_body_bytes, LARGE_AT_ONCE),
        )
        self._listener: socket.socket | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._stopping, self._served = threading.Event(), threading.Event()
        self._wake = asyncio.Event()
        self._grace_s = GRACE_S
        self._tasks: dict[asyncio.Task[None], Peer] = {}
        self._writers: dict[ConnectionWriter, None] = {}
        self._is_checking = False
        self._asked_at, self._checks = 0.0, 0

    def bind(self) -> None:
        """Open the port; clients may connect from here on, and get answers once `serve` runs.

        Raises `ConfigError` if the address is unavailable or the certificate is unusable.
        """
        self._listener = open_listener(
            self._host, self._port, self._tls, self._setting, send_buffer_bytes=self._send_buffer_bytes
        )
        self._port = int(self._listener.getsockname()[1])

    @property
    def port(self) -> int:
        """The port that clients use; after `bind` never 0."""
        return self._port

    @property
    def url(self) -> str:
        """Address of the page, as this machine's own browser would use it."""
        host = "localhost" if self._host in ("0.0.0.0", "::") else self._host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/"

    def serve(self) -> None:
        """Accept connections until `stop`; call `bind` first."""
        if self._listener is None:
            raise RuntimeError("serve() before bind()")
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(_log_exception)
        with self._lock:
            if self._stopping.is_set():
                loop.close()
                return
            self._loop = loop
        try:
            loop.run_until_complete(self._main())
        finally:
            self._listener.close()
            with self._lock:
                self._loop = None
            loop.close()
            self._served.set()

    def check_moving(self) -> None:
        """Raises `WorkerStuck` when the event loop hangs. Call it about once a second."""
        with self._lock:
            if self._loop is None:
                return
            if not self._asked_at:
                self._asked_at, self._checks = monotonic(), 0
                self._loop.call_soon_threadsafe(self._note_moving)
        self._checks += 1
        asked_at = self._asked_at
        # Not after a single look: a process that was suspended has had no time to answer.
        if asked_at and self._checks > _CHECKS and monotonic() - asked_at > LOOP_S:
            raise WorkerStuck(f"{self.name} has not moved for {monotonic() - asked_at:.1f} s")

    def stop(self, deadline_s: float = 3.0) -> list[str]:
        """End every thread of the server; returns the names of those still alive after `deadline_s` seconds.

        Unfinished answers get up to a second, WebSockets close with code 1001, then connections are closed.
        May be called twice, and before `serve`.
        """
        if self._listener is None:
            return []
        by = monotonic() + deadline_s
        with self._lock:
            self._stopping.set()
            loop = self._loop
            if loop is not None:
                self._grace_s = max(0.0, min(GRACE_S, deadline_s - 0.3))
                loop.call_soon_threadsafe(self._wake.set)
        if loop is None:
            self._listener.close()
        elif not self._served.wait(max(0.0, by - monotonic())):
            return [self.name, *self._pool.stop(monotonic() + 0.1)]
        return self._pool.stop(by)

    async def _main(self) -> None:
        assert self._listener is not None
        self._listen()
        ticker = asyncio.ensure_future(self._tick())
        await self._wake.wait()
        ticker.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        for task, peer in list(self._tasks.items()):
            if peer.is_waiting:
                task.cancel()
        for writer in list(self._writers):
            writer.stopping()
        for limit_s in (self._grace_s, None):
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=limit_s)
            for task in self._tasks:
                task.cancel()

    def _listen(self) -> None:
        if self._listener is not None and not self._stopping.is_set():
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        assert self._listener is not None
        try:
            for _ in range(_ACCEPTED_AT_ONCE):
                sock, address = self._listener.accept()
                self._begin(sock, address[0])
        except (BlockingIOError, InterruptedError):
            pass
        except (OSError, RuntimeError, MemoryError) as error:
            _log.warning("cannot take connections now: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._listener)
            loop.call_later(_PAUSE_S, self._listen)

    def _begin(self, sock: socket.socket, address: str) -> None:
        stream = SocketStream(sock)
        peer = Peer(address, Connection(), abort=stream.close)
        if not self._admission.enter(peer):
            stream.close()
            return
        client = ClientConnection(stream, peer, self._settings, self._writers, self._stopping.is_set)
        task = asyncio.ensure_future(client.serve())
        peer.abort = task.cancel
        self._tasks[task] = peer
        task.add_done_callback(partial(self._note_end, stream))

    def _note_end(self, stream: SocketStream, task: asyncio.Task[None]) -> None:
        self._admission.leave(self._tasks.pop(task))
        stream.close()  # also if the task was cancelled before it began
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a connection failed: %s", error, exc_info=error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for writer in list(self._writers):
                writer.tick()
            if self._writers and not self._is_checking:
                self._check_authorization(list(self._writers))

    def _check_authorization(self, writers: list[ConnectionWriter]) -> None:
        """Ask in the pool, because it may wait for the disk."""
        loop = asyncio.get_running_loop()
        self._is_checking = True

        def check() -> None:
            refused = [writer for writer in writers if not _is_authorized(writer)]
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(end, refused)

        def end(refused: list[ConnectionWriter]) -> None:
            self._is_checking = False
            for writer in refused:
                writer.stopping()

        try:
            self._pool.submit(check, first=True)
        except (RuntimeError, MemoryError) as error:
            self._is_checking = False
            _log.warning("viewers were not checked: %s", error)

    def _note_moving(self) -> None:
        self._asked_at = 0.0


def _is_authorized(writer: ConnectionWriter) -> bool:
    try:
        return writer.is_authorized()
    except Exception:
        # Any exception: who cannot be checked sees nothing.
        _log.exception("a viewer cannot be checked")
        return False


def _log_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    _log.error("the web server: %s", context["message"], exc_info=context.get("exception"))
