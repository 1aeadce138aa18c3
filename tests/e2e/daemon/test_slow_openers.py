"""Strangers who open connections and never finish a request, from many addresses, over TLS."""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from appliance.auth.certificate import DeviceCertificate
from appliance.web.app import create_app
from appliance.web.transport import admission
from appliance.web.transport.server import Server
from tests.e2e.daemon.driver import until
from tests.fakes.far import COOKIE, Client
from tests.fakes.web import make_context, served

PER_ADDRESS = 16
OWNER = "127.0.1.1"
GOOD = 40
PASSWORD = "correct horse battery staple"

HELLO = bytes.fromhex("1603010200010001fc0303")
"""The start of a TLS hello of 512 bytes."""


class SlowOpeners:
    """Holds 16 connections from each address, sends a byte at a time, and opens closed ones again."""

    def __init__(self, port: int, addresses: int, *, hello: bool) -> None:
        """`hello`: they do not finish the TLS handshake; else they do, and not the head."""
        self._port, self._hello = port, hello
        self._sources = [f"127.0.0.{2 + number}" for number in range(addresses)]
        self._selector = selectors.DefaultSelector()
        self._over = threading.Event()
        self.opened = 0

    def run(self) -> None:
        for source in self._sources * PER_ADDRESS:
            self._open(source)
        while not self._over.wait(0.05):
            for key, _ in self._selector.select(0):
                with suppress(BlockingIOError, ssl.SSLWantReadError):
                    if self._is_closed(key.fileobj):
                        self._selector.unregister(key.fileobj)
                        key.fileobj.close()
                        self._open(key.data)
            for key in list(self._selector.get_map().values()):
                with suppress(OSError):
                    key.fileobj.send(b"a")
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()
        self._selector.close()

    def stop(self) -> None:
        self._over.set()

    def _is_closed(self, sock: socket.socket) -> bool:
        try:
            return sock.recv(4096) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            raise
        except OSError:
            return True

    def _open(self, source: str) -> None:
        with suppress(OSError):
            sock = socket.create_connection(("127.0.0.1", self._port), 5, source_address=(source, 0))
            self.opened += 1
            if self._hello:
                sock.send(HELLO)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                try:
                    sock = context.wrap_socket(sock)
                except OSError:
                    sock.close()
                    raise
                sock.send(b"GET /api/state HTTP/1.1\r\nX-A: ")
            sock.setblocking(False)
            self._selector.register(sock, selectors.EVENT_READ, source)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # All addresses of loopback count as one, which no test without network namespaces could do without.
    monkeypatch.setattr(admission, "network_of", lambda address: address)
    context = make_context(login=True, loopback_is_operator=False)
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), PASSWORD)
    tls = DeviceCertificate(tmp_path).current
    with served(
        Server(create_app(context), "127.0.0.1", 0, max_connections=144, per_address=PER_ADDRESS, tls=tls)
    ) as server:
        yield server


@contextmanager
def crowded(server: Server, addresses: int, *, hello: bool) -> Iterator[SlowOpeners]:
    crowd = SlowOpeners(server.port, addresses, hello=hello)
    thread = threading.Thread(target=crowd.run)
    thread.start()
    try:
        until(lambda: crowd.opened >= addresses * PER_ADDRESS, 30, "all are connected")
        yield crowd
    finally:
        crowd.stop()
        thread.join(30)


@pytest.mark.parametrize("hello", [True, False], ids=["hellos", "heads"])
@pytest.mark.parametrize("addresses", [2, 20])
def test_the_owner_gets_in_every_time(server: Server, tmp_path: Path, addresses: int, hello: bool) -> None:
    owner = Client(server.port, tmp_path, source=OWNER)
    assert owner.log_in("operator", PASSWORD).status == 303
    with crowded(server, addresses, hello=hello):
        for _ in range(GOOD):
            assert owner.request("/api/state").status == 200
        connection = owner.connect()
        for _ in range(GOOD):
            connection.request("GET", "/api/state", headers={"Cookie": f"{COOKIE}={owner.cookie}"})
            assert connection.getresponse().read()
        connection.close()


@pytest.mark.parametrize("hello", [True, False], ids=["hellos", "heads"])
def test_the_owner_logs_in_and_watches_from_the_address_of_the_crowd(
    server: Server, tmp_path: Path, hello: bool
) -> None:
    owner = Client(server.port, tmp_path, source="127.0.0.2")
    with crowded(server, 1, hello=hello):
        assert owner.log_in("operator", PASSWORD).status == 303
        assert all(owner.request("/api/state").status == 200 for _ in range(GOOD))
