"""The web server and its WebSockets over real connections: good, stalled and misbehaving clients."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import logging
import os
import queue
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest
from flask import Flask, Response, request
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from appliance.errors import CameraLost, ConfigError, WorkerStuck
from appliance.handoff import Slot
from appliance.web.transport.broadcast import Broadcast
from appliance.web.transport.handover import Handover
from appliance.web.transport.outlet import Outlet
from appliance.web.transport.server import MAX_BODY_BYTES, Server
from appliance.web.transport.websocket import Message, WebSocket, frame, route, upgrade
from appliance.web.transport.wsgi import CONNECTION
from tests.fakes.web import served

PICTURE_BYTES = 80_000
FPS = 50
BOUNDARY = b"--frame\r\n"
WITHIN_S = 10.0
Tls = tuple[str, str]


class Probe:
    """A small application, and what its views saw."""

    def __init__(self) -> None:
        self.pictures: Slot[int] = Slot()
        self.texts: Slot[str] = Slot()
        self.heard: queue.Queue[Message] = queue.Queue()
        self.bodies: queue.Queue[bytes] = queue.Queue()
        self.watching, self.ended = threading.Event(), threading.Event()
        self.talking, self.talked = threading.Event(), threading.Event()
        self.released = threading.Event()
        self.allowed, self.authorized = True, True
        self.framed = 0
        self._picture_broadcast = Broadcast(self.pictures, self._frame_picture)
        self._text_broadcast = Broadcast(self.texts, lambda text, _: frame(text))
        self.app = self._make_app()

    def _make_app(self) -> Flask:
        app = Flask("probe")
        app.route("/hello", methods=["GET", "POST"])(self._hello)
        app.post("/size")(self._size)
        app.get("/headers")(self._headers)
        app.get("/stream.mjpg")(self._watch)
        app.get("/wait")(self._wait)
        app.get("/long")(self._long)
        app.get("/broken/<kind>")(self._broken)
        route(app, "/ws/live")(self._live)
        return app

    def _hello(self) -> str:
        request.environ[CONNECTION].role = request.headers.get("X-Role", "")
        return "hello"

    def _headers(self) -> dict[str, str]:
        return dict(request.headers) | {"path": request.full_path, "peer": request.remote_addr or ""}

    def _size(self) -> str:
        self.bodies.put(request.get_data())
        return str(len(request.get_data()))

    def _watch(self) -> Response:
        self.watching.set()
        response = Handover(self._begin_pictures, 200, [("Content-Type", "multipart/x-mixed-replace")])
        response.call_on_close(self.ended.set)
        return response

    def _live(self) -> Response:
        answer = upgrade(request.environ, self._begin_texts)
        if answer.status_code == 101:
            answer.call_on_close(self.talked.set)
        return answer

    def _begin_pictures(self, outlet: Outlet) -> None:
        outlet.ended = lambda: self._picture_broadcast.leave(outlet)
        outlet.may_send = lambda: self.allowed
        outlet.is_authorized = lambda: self.authorized
        self._picture_broadcast.join(outlet, None, self.pictures.number)

    def _begin_texts(self, client: WebSocket) -> None:
        client.outlet.ended = lambda: self._text_broadcast.leave(client.outlet)
        client.outlet.is_authorized = lambda: self.authorized
        client.received = self.heard.put
        self._text_broadcast.join(client.outlet, None, self.texts.number)
        self.talking.set()

    def _frame_picture(self, number: int, kind: object) -> bytes:
        self.framed += 1
        return BOUNDARY + struct.pack("!I", number) + bytes(PICTURE_BYTES)

    def _wait(self) -> str:
        self.watching.set()
        self.released.wait(WITHIN_S)
        return "waited"

    def _long(self) -> Response:
        response = Response(bytes(10_000) for _ in range(1000))
        response.call_on_close(self.ended.set)
        return response

    def _broken(self, kind: str) -> Response:
        def body() -> Iterator[bytes]:
            yield b"begun"
            raise CameraLost("unplugged") if kind == "lost" else RuntimeError("a bug")

        return Response(body())


@pytest.fixture
def probe() -> Iterator[Probe]:
    """The application, with a source of numbered pictures."""
    made, over = Probe(), threading.Event()

    def feed() -> None:
        number = 0
        while not over.wait(1 / FPS):
            number += 1
            made.pictures.put(number)

    source = threading.Thread(target=feed, name="source")
    source.start()
    yield made
    over.set()
    source.join()
    made.pictures.close()
    made.texts.close()
    made.released.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A self-signed certificate and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl command is not installed")
    folder: Path = tmp_path_factory.mktemp("tls")
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subprocess.run([*command.split(), "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.fixture(params=["plain", "tls"])
def tls(request: pytest.FixtureRequest) -> Tls | None:
    """No TLS, then TLS."""
    return None if request.param == "plain" else request.getfixturevalue("certificate")


@contextmanager
def running(probe: Probe, **settings: object) -> Iterator[Server]:
    """The application served on a free port; checks at the end that no thread is left."""
    if (pair := settings.pop("tls", None)) is not None:
        settings["tls"] = lambda: pair
    server = Server(probe.app, "127.0.0.1", 0, **{"max_connections": 8, **settings})  # type: ignore[arg-type]
    with served(server):
        yield server
    assert http_threads() == []


def http_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("http")]


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def dial(server: Server, *, encrypt: bool | None = None) -> socket.socket:
    """A connection; by default encrypted if the server is."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    raw.settimeout(WITHIN_S)
    raw.connect(("127.0.0.1", server.port))
    encrypt = server.url.startswith("https") if encrypt is None else encrypt
    return trusting().wrap_socket(raw) if encrypt else raw


def ask(server: Server, path: str, headers: str = "", *, method: str = "GET") -> socket.socket:
    """A connection that has sent a request and read nothing."""
    connection = dial(server)
    connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode())
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Everything until the server closes; a reset counts as the end."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    return b"".join(parts)


def hello(server: Server) -> float:
    """Seconds that a well-behaved client waits for its answer."""
    began = monotonic()
    assert answers(server)
    return monotonic() - began


def answers(server: Server) -> bool:
    with ask(server, "/hello", "Connection: close\r\n") as connection:
        return read_all(connection).endswith(b"hello")


def fetch(server: Server, path: str, **arguments: object) -> http.client.HTTPResponse:
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN_S)
    client.request(str(arguments.pop("method", "GET")), path, **arguments)  # type: ignore[arg-type]
    response = client.getresponse()
    response.read()
    client.close()
    return response


def open_stream(server: Server) -> http.client.HTTPResponse:
    connection = ask(server, "/stream.mjpg")
    response = http.client.HTTPResponse(connection)
    response.begin()
    connection.close()  # the response keeps its own handle
    return response


def next_picture(response: http.client.HTTPResponse) -> int:
    """Number of the next picture of a stream."""
    size = len(BOUNDARY) + 4 + PICTURE_BYTES
    part = response.read(size)
    assert len(part) == size and part.startswith(BOUNDARY)
    return int(struct.unpack_from("!I", part, len(BOUNDARY))[0])


def talk_to(server: Server) -> ClientConnection:
    address = server.url.replace("http", "ws", 1) + "ws/live"
    return connect(address, ssl=trusting() if address.startswith("wss") else None, open_timeout=WITHIN_S)


def ask_websocket(server: Server) -> socket.socket:
    """A WebSocket that was opened and is never read."""
    key = base64.b64encode(os.urandom(16)).decode()
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    return ask(server, "/ws/live", f"{upgrade}Sec-WebSocket-Key: {key}\r\n")


def rss_mb() -> float:
    """Memory of this process, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


# Pictures


def test_ok__picture_stream_arrives(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server:
        with open_stream(server) as response:
            assert response.status == 200
            first, second = next_picture(response), next_picture(response)
            assert second > first
        assert probe.ended.wait(WITHIN_S), "the viewer left but its generator still runs"


def test_ok__stalled_viewer_is_dropped_and_costs_no_memory(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server:
        with open_stream(server) as response:
            for _ in range(20):
                next_picture(response)
        assert probe.ended.wait(WITHIN_S)
        probe.watching.clear()
        probe.ended.clear()
        before = rss_mb()
        with ask(server, "/stream.mjpg"):
            assert probe.watching.wait(WITHIN_S)
            assert probe.ended.wait(WITHIN_S), "a viewer who reads nothing is still served"
            assert rss_mb() - before < 2.0


def test_ok__viewer_who_pauses_gets_a_fresh_picture(probe: Probe) -> None:
    with running(probe) as server, open_stream(server) as response:
        paused_at = next_picture(response)
        while probe.pictures.number < paused_at + FPS:
            probe.pictures.take(probe.pictures.number, 1.0)
        now, stale = probe.pictures.number, 0
        while next_picture(response) < now:
            stale += 1
        assert stale <= 8, "old pictures were kept for a viewer who did not read"


# WebSockets


def test_ok__websocket_delivers_what_is_pushed(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server, talk_to(server) as client:
        for number in range(20):
            probe.texts.put(json.dumps({"frame": number, "word": "fröhlich"}))
            assert json.loads(client.recv(WITHIN_S)) == {"frame": number, "word": "fröhlich"}
        assert client.ping().wait(WITHIN_S), "the client's own ping got no answer"
        client.close()
        assert client.protocol.close_code == 1000
        assert probe.talked.wait(WITHIN_S)


def test_ok__silent_websocket_outlives_every_limit(probe: Probe) -> None:
    with running(probe, send_timeout_s=0.4) as server, talk_to(server) as client:
        for _ in range(40):  # rounds of 0.2 s: long enough for two pings and twenty times the limit
            assert probe.rounds.acquire(timeout=WITHIN_S)
        probe.texts.put("still here")
        assert client.recv(WITHIN_S) == "still here"


@pytest.mark.parametrize("text", [None, "x" * 30_000], ids=["quiet", "busy"])
def test_ok__stalled_websocket_is_dropped(probe: Probe, tls: Tls | None, text: str | None) -> None:
    with running(probe, tls=tls) as server, ask_websocket(server):
        assert probe.talking.wait(WITHIN_S)
        for _ in range(100 if text else 0):
            probe.texts.put(str(text))
        assert probe.talked.wait(WITHIN_S), "a client that reads nothing is still connected"


def test_fail__plain_request_to_a_websocket(probe: Probe) -> None:
    with running(probe) as server:
        response = fetch(server, "/ws/live")
        assert (response.status, response.getheader("Upgrade")) == (426, "websocket")
        assert not probe.talking.is_set()


def test_fail__handshake_without_a_key(probe: Probe) -> None:
    with running(probe) as server:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        assert fetch(server, "/ws/live", headers=headers).status == 400


def test_ok__small_messages_of_the_client_are_ignored_and_large_ones_end_it(probe: Probe) -> None:
    with running(probe) as server, talk_to(server) as client:
        client.send("x" * 4096)
        probe.texts.put("heard nothing")
        assert client.recv(WITHIN_S) == "heard nothing"
        client.send("x" * 4097)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


def test_ok__closed_slot_closes_the_websocket_with_1001(probe: Probe) -> None:
    def next_text() -> str | None:
        raise SlotClosed("the slot is closed")

    probe._next_text = next_text  # type: ignore[method-assign]
    with running(probe) as server, talk_to(server) as client:
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


# Misbehaving clients


def test_ok__silent_and_slow_clients_do_not_block_others(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, max_connections=4) as server, ExitStack() as clients:
        for _ in range(8):
            clients.enter_context(dial(server, encrypt=False))
        for _ in range(2):
            clients.enter_context(dial(server)).sendall(b"GET /hello HTTP/1.1\r\n")
        assert max(hello(server) for _ in range(5)) < 2.0


def test_ok__slow_head_is_cut_off(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, send_timeout_s=1.0) as server, dial(server) as connection:
        began, answer = monotonic(), None
        connection.settimeout(0.3)
        while answer is None and monotonic() - began < WITHIN_S:
            try:
                connection.sendall(b"G")
                answer = connection.recv(1000)
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert monotonic() - began < 3.0


def test_ok__silent_client_is_released(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, send_timeout_s=0.5) as server, dial(server, encrypt=False) as connection:
        assert connection.recv(1000) == b""


def test_ok__broken_client_is_not_logged_as_an_error(
    probe: Probe, tls: Tls | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(probe, tls=tls) as server:
        connection = ask(server, "/stream.mjpg")
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # with a reset
        with dial(server, encrypt=False) as rude:
            rude.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
            read_all(rude)
        assert probe.ended.wait(WITHIN_S)
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.parametrize("kind", ["bug", "lost"])
def test_fail__error_of_ours_is_logged_with_its_traceback(
    probe: Probe, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    with running(probe) as server, ask(server, f"/broken/{kind}") as connection:
        assert b"begun" in read_all(connection)
    errors = [record for record in caplog.records if record.exc_info and record.exc_info[1]]
    assert [record.name for record in errors] == ["appliance.web"]


# Limits


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, 413),
        ({"Content-Length": "-1"}, 400),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"X-Large": "x" * 65536}, 413),
    ],
    ids=["large body", "negative body", "chunked body", "large head"],
)
def test_fail__request_over_a_limit(probe: Probe, headers: dict[str, str], status: int) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with running(probe) as server, ask(server, "/size", lines, method="POST") as connection:
        assert read_all(connection).startswith(f"HTTP/1.1 {status} ".encode())


def test_ok__largest_body_arrives(probe: Probe) -> None:
    with running(probe) as server:
        assert fetch(server, "/size", method="POST", body=bytes(MAX_BODY_BYTES)).status == 200


def test_ok__one_connection_serves_several_requests(probe: Probe) -> None:
    with running(probe, max_connections=1) as server:
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=WITHIN_S)
        client.connect()
        first = client.sock
        for _ in range(3):
            client.request("GET", "/hello")
            response = client.getresponse()
            assert response.read() == b"hello"
            assert client.sock is first, "the connection was not kept open"
        assert "cheroot" not in str(response.getheaders()).lower()
        client.close()


def test_ok__connections_over_the_limit_are_refused_until_one_closes(probe: Probe) -> None:
    with running(probe, max_connections=1) as server:
        with ask(server, "/wait", "Connection: close\r\n") as busy:
            assert probe.watching.wait(WITHIN_S)
            with ask(server, "/hello") as refused:
                answer = read_all(refused)
                assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5\r\n" in answer
                length = int(answer.partition(b"Content-Length: ")[2].split()[0])
                assert len(answer.partition(b"\r\n\r\n")[2]) == length
            probe.released.set()
            assert read_all(busy).endswith(b"waited")
        began = monotonic()
        while not answers(server):  # the thread ends a moment after the client has its answer
            assert monotonic() - began < WITHIN_S


def test_ok__one_address_holds_no_more_than_its_share(probe: Probe, tls: Tls | None) -> None:
    limiter = ConnectionLimiter(3)
    with running(probe, tls=tls, max_connections=4, limiter=limiter) as server:
        with ExitStack() as silent:
            held = [silent.enter_context(dial(server, encrypt=False)) for _ in range(3)]
            wait_until(lambda: limiter.held("127.0.0.1") == 3)
            with dial(server, encrypt=False) as one_more:
                assert b"200 OK" not in read_all(one_more)
            assert limiter.held("127.0.0.1") == 3
            held[0].close()
            wait_until(lambda: limiter.held("127.0.0.1") == 2)
            assert answers(server)
        wait_until(lambda: limiter.held("127.0.0.1") == 0)


def wait_until(done: Callable[[], bool]) -> None:
    began = monotonic()
    while not done():
        assert monotonic() - began < WITHIN_S


# Start and stop


def test_ok__stop_ends_stalled_viewers_with_1001(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server, talk_to(server) as client, ask(server, "/stream.mjpg"):
        assert probe.watching.wait(WITHIN_S) and probe.talking.wait(WITHIN_S)
        assert len(http_threads()) == 3
        began = monotonic()
        assert server.stop(3.0) == []
        assert monotonic() - began < 3.0
        assert probe.ended.is_set() and probe.talked.is_set()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


def test_fail__thread_that_does_not_end_is_reported(probe: Probe) -> None:
    with running(probe) as server, ask(server, "/wait"):
        assert probe.watching.wait(WITHIN_S)
        assert server.stop(0.2) == ["http-1"]
        probe.released.set()
        for thread in threading.enumerate():
            if thread.name == "http-1":
                thread.join(WITHIN_S)
        assert server.stop(0.2) == []


def test_ok__stop_before_serve_and_twice(probe: Probe) -> None:
    server = Server(probe.app, "127.0.0.1", 0, max_connections=1)
    assert server.stop() == []
    server.bind()
    assert server.stop() == server.stop() == []
    server.serve()  # returns at once


def test_fail__port_in_use(probe: Probe) -> None:
    with running(probe) as server:
        second = Server(probe.app, "127.0.0.1", server.port, max_connections=1)
        with pytest.raises(ConfigError) as refused:
            second.bind()
        assert (refused.value.key, refused.value.value) == ("web.port", server.port)
        assert "\n" not in str(refused.value)


def test_fail__address_of_another_machine(probe: Probe) -> None:
    with pytest.raises(ConfigError) as refused:
        Server(probe.app, "192.0.2.1", 0, max_connections=1).bind()
    assert refused.value.key == "web.host"


def test_fail__certificate_that_cannot_be_read(probe: Probe, tmp_path: Path) -> None:
    missing = str(tmp_path / "cert.pem")
    with pytest.raises(ConfigError) as refused:
        Server(probe.app, "127.0.0.1", 0, max_connections=1, tls=lambda: (missing, missing)).bind()
    assert refused.value.value == missing


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:80/"), ("0.0.0.0", "http://localhost:80/"), ("::1", "http://[::1]:80/")],
)
def test_ok__url(probe: Probe, host: str, url: str) -> None:
    assert Server(probe.app, host, 80, max_connections=1).url == url


# Temporary failures


class Failing:
    """A listening socket whose next `accept` fails."""

    def __init__(self, real: socket.socket, error: Exception) -> None:
        self._real, self._errors = real, [error]

    def accept(self) -> tuple[socket.socket, object]:
        if self._errors:
            raise self._errors.pop()
        return self._real.accept()

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)


@pytest.mark.parametrize(
    "error",
    [
        *(
            OSError(getattr(errno, name), name)
            for name in ("EPROTO", "EPERM", "ENETDOWN", "ENONET", "EMFILE")
        ),
        MemoryError(),
    ],
    ids=str,
)
def test_ok__temporary_accept_error_does_not_stop_the_server(probe: Probe, error: Exception) -> None:
    with running(probe) as server:
        assert server._server is not None
        failing = Failing(server._server.socket, error)
        server._server.socket = failing  # type: ignore[assignment]
        assert answers(server)
        assert failing._errors == [], "it was called and failed"


def test_ok__a_thread_that_cannot_start_costs_one_connection(
    probe: Probe, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(probe) as server:
        start, refused = threading.Thread.start, []

        def refuse(thread: threading.Thread) -> None:
            if thread.name.startswith("http-") and not refused:
                refused.append(thread.name)
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert fetch(server, "/hello").status == 503
        assert refused == ["http-1"]
        assert answers(server)


def test_fail__hung_listener_is_reported(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.transport.server.LISTENER_S", 0.1)
    server = Server(probe.app, "127.0.0.1", 0, max_connections=1)
    server.check_moving()
    server.bind()
    server.check_moving()
    assert server._server is not None
    server._server.handing_over_since = monotonic() - 1.0
    with pytest.raises(WorkerStuck, match=r"^http has not moved"):
        server.check_moving()
    assert server.stop() == ["http"]
    server._server.handing_over_since = None
    assert server.stop() == []
