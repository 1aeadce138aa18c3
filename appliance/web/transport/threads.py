"""The threads of the web server's busy connections: made when needed, each gone with its connection."""

from __future__ import annotations

import logging
import queue
import threading
from contextlib import suppress
from time import monotonic
from typing import Any

from appliance.web.transport.connection import MAX_BODY_BYTES

GRACE_S = 1.0  # for answers under way when the server stops; a WebSocket notices within 0.5 s

_log = logging.getLogger("appliance.web")


class Threads:
    """Cheroot's thread pool, by the interface it documents: `http-1` to `http-<limit>`, made when needed."""

    def __init__(self, server: Any, limit: int, name: str) -> None:
        self._server, self._name = server, name
        self._places: list[tuple[threading.Thread, Any] | None] = [None] * limit

    def start(self) -> None:
        """Nothing yet: a thread starts with its connection."""

    def put(self, conn: Any) -> None:
        """Attend to a connection; raises `queue.Full` when no thread is free or none can be started."""
        for number, place in enumerate(self._places):
            if place is None or not place[0].is_alive():
                name = f"{self._name}-{number + 1}"
                thread = threading.Thread(target=self._attend, args=(conn,), name=name, daemon=True)
                try:
                    thread.start()
                except (RuntimeError, MemoryError) as error:
                    _log.warning("no thread can be started now: %s", error)
                    break
                self._places[number] = (thread, conn)
                return
        raise queue.Full

    def stop(self, timeout: float) -> None:
        """End all within `timeout` seconds; connections are cut after the grace."""
        by = monotonic() + timeout
        for _thread, conn in self.busy(min(by - timeout / 3, monotonic() + GRACE_S)):
            conn.socket.shutdown()
        for thread, _conn in self.busy(by):
            _log.error("%s did not end within %.1f s", thread.name, timeout)

    def busy(self, by: float = 0.0) -> list[tuple[threading.Thread, Any]]:
        """Who still runs at the monotonic second `by`; waits for all until then."""
        places = [place for place in self._places if place is not None]
        for thread, _conn in places:
            thread.join(max(0.0, by - monotonic()))
        return [place for place in places if place[0].is_alive()]

    def _attend(self, conn: Any) -> None:
        try:
            while conn.communicate():
                if not conn.socket.has_data():
                    self._server.put_conn(conn)  # to wait for its next request without a thread
                    return
        except OSError as error:  # cheroot could not even send its answer to a broken request
            _log.debug("a connection broke: %s", error)
        with suppress(OSError):
            conn.socket.arrived(MAX_BODY_BYTES)  # closing over unread bytes is a reset: no answer arrives
        conn.close()
