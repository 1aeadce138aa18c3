"""The real routes on the real server, with more clients than it admits."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from time import monotonic
from urllib.parse import urlencode

import pytest

from appliance.values import Picture
from appliance.viewers import Viewers
from appliance.web.app import create_app
from appliance.web.context import AppContext
from appliance.web.transport import websocket
from appliance.web.transport.admission import OVERFLOW
from appliance.web.transport.connection import BODY_S
from appliance.web.transport.server import Server
from tests.e2e.daemon.driver import open_websocket, until
from tests.fakes.consent import NOTICE
from tests.fakes.far import from_far
from tests.fakes.parts import OVERLAY
from tests.fakes.web import make_context, pictures, served

VIEWERS = 8
PASSWORD = "correct horse battery staple"
THREADS = 24
SOON_S = 0.8 * BODY_S
"""Less than the time after which the server gives up on a missing body."""


@pytest.fixture
def context() -> AppContext:
    made = make_context()
    return replace(made, live=replace(made.live, viewers=Viewers(VIEWERS), listeners=Viewers(VIEWERS)))


@pytest.fixture
def server(context: AppContext) -> Iterator[Server]:
    with serving(context) as server:
        yield server


@contextmanager
def serving(context: AppContext) -> Iterator[Server]:
    server = Server(create_app(context), "127.0.0.1", 0, max_connections=THREADS)
    with served(server):
        yield server


@pytest.fixture
def from_outside() -> Iterator[tuple[Server, AppContext]]:
    """A server on an open network, for which every client is a viewer."""
    made = make_context(open_to_network=True)
    context = replace(made, live=replace(made.live, viewers=Viewers(VIEWERS), listeners=Viewers(VIEWERS)))
    with served(Server(from_far(create_app(context)), "127.0.0.1", 0, max_connections=THREADS)) as server:
        yield server, context


def test_a_rush_of_websockets_is_admitted_up_to_the_limit(
    from_outside: tuple[Server, AppContext],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, context = from_outside
    # These answer no ping: on a busy machine the first would be dropped before the last arrives.
    monkeypatch.setattr(websocket, "PONG_S", 600.0)
    for _ in range(3):
        with ExitStack() as stack:
            gate = threading.Barrier(20)
            answers: list[bytes] = []

            def rush(
                stack: ExitStack = stack, gate: threading.Barrier = gate, answers: list[bytes] = answers
            ) -> None:
                gate.wait()
                client = stack.enter_context(open_websocket(server.port))
                answers.append(client.recv(64)[:12])

            rushing = [threading.Thread(target=rush) for _ in range(20)]
            for each in rushing:
                each.start()
            for each in rushing:
                each.join(10)
            assert sorted(answers) == [b"HTTP/1.1 101"] * 8 + [b"HTTP/1.1 503"] * 12
        until(lambda: context.live.listeners.count == 0, 10, "all places are free again")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_full_server_answers_the_operator_and_refuses_others_with_an_answer() -> None:
    context = make_context(login=True, loopback_is_operator=False)
    tokens = {
        role: {"Authorization": f"Bearer {context.auth.tokens.create(role, role)}"}
        for role in ("viewer", "operator")
    }
    context.session.start(NOTICE, "operator")
    with served(Server(create_app(context), "127.0.0.1", 0, max_connections=1)) as server:
        watching = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        watching.request("GET", "/stream.mjpg", headers=tokens["viewer"])
        stream = watching.getresponse()
        assert stream.status == 200
        for path, headers, status in (
            ("/api/state", tokens["viewer"], 503),
            ("/login", {}, 200),
            ("/static/access.css", {}, 200),
            ("/nowhere", {}, 503),
            ("/api/state", tokens["operator"], 200),
        ):
            client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            client.request("GET", path, headers=headers)
            answer = client.getresponse()
            assert (answer.status, answer.headers["Retry-After"]) == (status, "5" if status == 503 else None)
            answer.read()
            client.close()
        stream.close()
        watching.close()
        until(lambda: answered(server, "/nowhere") == 404, 5, "there is room again")


def test_viewers_who_hold_every_connection_do_not_keep_the_operator_from_logging_in() -> None:
    context = make_context(login=True, loopback_is_operator=False)
    assert context.auth.accounts.claim(context.auth.accounts.new_first_code(), PASSWORD)
    token = {"Authorization": f"Bearer {context.auth.tokens.create('wall', 'viewer')}"}
    with (
        served(Server(create_app(context), "127.0.0.1", 0, max_connections=8)) as server,
        ExitStack() as held,
    ):
        for _ in range(24):
            viewer = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            held.callback(viewer.close)
            viewer.request("GET", "/api/state", headers=token)
            assert viewer.getresponse().read()
        assert answered(server, "/nowhere") == 404, "none is over the limit"
        form = urlencode({"name": "operator", "password": PASSWORD})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        held.callback(client.close)
        client.request("POST", "/login", form, headers)
        answer = client.getresponse()
        assert answer.status == 303
        cookie = {"Cookie": (answer.headers["Set-Cookie"] or "").partition(";")[0]}
        for path in ("/", "/api/state"):
            page = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            held.callback(page.close)
            page.request("GET", path, headers=cookie)
            assert page.getresponse().status == 200


def test_streams_of_operators_do_not_keep_the_next_one_out() -> None:
    context = make_context(login=True, loopback_is_operator=False)
    token = {"Authorization": f"Bearer {context.auth.tokens.create('desk', 'operator')}"}
    context.session.start(NOTICE, "operator")
    with (
        served(Server(create_app(context), "127.0.0.1", 0, max_connections=1)) as server,
        pictures(context),
        ExitStack() as held,
    ):
        for _ in range(1 + 2 * OVERFLOW):
            stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
            held.callback(stream.close)
            stream.request("GET", "/stream.mjpg", headers=token)
            answer = stream.getresponse()
            held.callback(answer.close)
            assert answer.status == 200
            for path in ("/", "/snapshot.jpg", "/api/state"):
                assert answered(server, path, headers=token) == 200
        assert answered(server, "/login") == 200
        assert context.live.viewers.count <= 2 + OVERFLOW


def test_a_request_that_is_not_a_websocket_takes_no_slot(server: Server, context: AppContext) -> None:
    for _ in range(VIEWERS + 1):
        assert answered(server, "/ws/live") == 426
    assert context.live.listeners.count == 0


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/session/stop HTTP/1.1\r\nHost: evil.example\r\n",
        "POST /nowhere HTTP/1.1\r\nHost: localhost\r\n",
        "POST / HTTP/1.1\r\nHost: localhost\r\n",
        "GET /api/state HTTP/1.1\r\nHost: localhost\r\n",
    ],
    ids=["foreign host", "no route", "wrong method", "not refused at all"],
)
def test_unread_bodies_occupy_no_thread(server: Server, head: str) -> None:
    with ExitStack() as stack:
        for _ in range(THREADS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(f"{head}Content-Length: 1000\r\n\r\nx".encode())
        until(lambda: answered(server, "/api/state") == 200, SOON_S, "a good client is served")


def test_a_refusal_reaches_a_client_that_has_sent_its_complete_body(server: Server) -> None:
    for _ in range(20):
        assert answered(server, "/nowhere", "POST", bytes(60_000)) == 404


def test_an_unread_body_that_arrived_costs_no_connection(server: Server) -> None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    client.connect()
    first = client.sock
    for _ in range(3):
        client.request("POST", "/api/session/stop", b"{}")
        assert client.getresponse().read() == b'{"state":"idle"}\n'
        assert client.sock is first
    client.close()


def test_a_slow_viewer_gets_almost_nothing_after_stop(server: Server, context: AppContext) -> None:
    context.session.start(NOTICE, "operator")
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        viewer.connect(("127.0.0.1", server.port))
        viewer.settimeout(10)
        viewer.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: context.live.viewers.count == 1, 5, "the viewer is connected")
        epoch = context.session.consent_epoch
        context.live.pictures.put(Picture(1, monotonic(), epoch, True, {OVERLAY: os.urandom(2_000_000)}))
        before = len(viewer.recv(1000))
        time.sleep(0.3)  # the buffers in between fill up
        context.session.stop("operator")
        after = 0
        while data := received(viewer):
            after += len(data)
    assert before and after < 500_000, after
    until(lambda: context.live.viewers.count == 0, 5, "the viewer is disconnected")


def received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(65536)
    except ConnectionError:
        return b""


def answered(
    server: Server,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> int | None:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    try:
        client.request(method, path, body, headers or {})
        return client.getresponse().status
    except OSError:
        return None
    finally:
        client.close()
