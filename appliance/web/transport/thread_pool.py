"""The threads of the web server: one for each busy connection, started when needed."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

from appliance.web.transport.connection import MAX_BODY_BYTES

GRACE_S = 1.0  # to finish answers when the server stops; a WebSocket notices within 0.5 s

_log = logging.getLogger("appliance.web")


class ThreadPool:
    """A thread pool with the interface that cheroot documents: threads `http-1` to `http-<limit>`."""

    def __init__(self, server: Any, limit: int, name: str) -> None:
        self._server, self._name = server, name
        self._slots: list[tuple[threading.Thread, Any] | None] = [None] * limit

    def start(self) -> None:
        """Do nothing: a thread starts with its connection."""

    def put(self, conn: Any) -> None:
        """Serve a connection; raises `queue.Full` when no thread is free or none can be started."""
        for number, slot in enumerate(self._slots):
            if slot is None or not slot[0].is_alive():
                name = f"{self._name}-{number + 1}"
                thread = threading.Thread(target=self._serve, args=(conn,), name=name, daemon=True)
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:
                    _log.warning("no thread can be started now: %s", error)
                    break
                self._slots[number] = (thread, conn)
                return
        raise queue.Full

    def stop(self, timeout: float) -> None:
        """End all threads within `timeout` seconds; connections are cut after the grace period."""
        by = monotonic() + timeout
        for _thread, conn in self.busy(min(by - timeout / 3, monotonic() + GRACE_S)):
            conn.socket.shutdown()
        for thread, _conn in self.busy(by):
            _log.error("%s did not end within %.1f s", thread.name, timeout)

    def busy(self, by: float = 0.0) -> list[tuple[threading.Thread, Any]]:
        """Wait until the monotonic second `by`; the threads that still run, with their connections."""
        slots = [slot for slot in self._slots if slot is not None]
        for thread, _conn in slots:
            thread.join(max(0.0, by - monotonic()))
        return [slot for slot in slots if slot[0].is_alive()]

    def _serve(self, conn: Any) -> None:
        try:
            while conn.communicate():
                if not conn.socket.has_data():
                    self._server.put_conn(conn)  # it waits for its next request without a thread
                    return
        except OSError as error:  # cheroot could not send its answer to a broken request
            _log.debug("a connection broke: %s", error)
        with suppress(OSError):
            conn.socket.arrived(MAX_BODY_BYTES)  # closing with unread bytes resets the connection
        conn.close()
