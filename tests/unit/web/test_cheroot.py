"""Internals of cheroot that web/transport/server.py uses: each new version is tested here first."""

from __future__ import annotations

import queue
import socket
import threading
from typing import Any

import pytest
from cheroot.server import HTTPConnection, HTTPServer
from packaging.requirements import Requirement

from tests.machine import ROOT

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib


class Noting(HTTPServer):
    """Hands connections to a queue, as ours hands them to threads."""

    expiration_interval = 0.05

    def __init__(self) -> None:
        self.handed: queue.Queue[Any] = queue.Queue()
        super().__init__(("127.0.0.1", 0), None)

    def process_conn(self, conn: HTTPConnection) -> None:
        self.handed.put(conn)


@pytest.fixture
def noting():
    server = Noting()
    server.prepare()
    thread = threading.Thread(target=server._connections.run, args=(server.expiration_interval,), daemon=True)
    thread.start()
    yield server
    server.stop()
    thread.join(10)
    assert not thread.is_alive(), "stop() no longer ends _connections.run()"


def test_a_version_beyond_those_tried_is_not_installed():
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    (wanted,) = (each for each in map(Requirement, lines) if each.name == "cheroot")
    assert any(limit.operator == "<" for limit in wanted.specifier)
    assert not wanted.specifier.contains("99")


def test_the_manager_hands_over_new_connections_and_those_that_were_put_back(noting):
    with socket.create_connection(noting.bind_addr) as client:
        conn = noting.handed.get(timeout=10)
        assert isinstance(conn, noting.ConnectionClass)
        assert conn.last_used is None, "a new one: web/transport/server.py counts it"
        assert conn.remote_addr == "127.0.0.1"
        assert noting.can_add_keepalive_connection
        noting.put_conn(conn)
        with pytest.raises(queue.Empty):
            noting.handed.get(timeout=0.3)  # silent: it waits without a thread
        client.sendall(b"G")
        assert noting.handed.get(timeout=10) is conn
        assert conn.last_used is not None
        conn.close()


def test_a_listener_that_cannot_accept_ends_the_run_with_its_error(noting, monkeypatch):
    """web/transport/server.py continues after it, or ends when the listener itself is closed."""

    def fails(sock: socket.socket) -> None:
        raise OSError(24, "Too many open files")

    other = Noting()
    other.prepare()
    monkeypatch.setattr(other._connections, "_from_server_socket", fails)
    with socket.create_connection(other.bind_addr), pytest.raises(OSError, match="Too many"):
        other._connections.run(other.expiration_interval)
    other.stop()
