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
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from flask import Flask, Response, request
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol, Side, State
from websockets.sync.client import ClientConnection, connect

from appliance.errors import CameraLost, ConfigError, WorkerStuck
from appliance.handoff import Slot
from appliance.web.transport import websocket
from appliance.web.transport.admission import OVERFLOW
from appliance.web.transport.broadcast import Broadcast
from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.server import LARGE_AT_ONCE, MAX_BODY_BYTES, Server
from appliance.web.transport.takeover import Takeover
from appliance.web.transport.websocket import Message, WebSocket, frame, route, upgrade
from appliance.web.transport.wsgi import CONNECTION, CONTINUE, HEAD_ONLY
from tests.fakes.web import served

PICTURE_BYTES = 80_000
FPS = 50
BOUNDARY = b"--frame\r\n"
WITHIN_S = 10.0
TOO_MUCH = MAX_BODY_BYTES + 1
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
        self.session = ""
        """How the texts begin that may be sent."""
        self.framed = 0
        self.framed_texts: list[str] = []
        self._picture_broadcast = Broadcast(self.pictures, self._frame_picture)
        self._text_broadcast = Broadcast(
            self.texts, self._frame_text, lambda text: text.startswith(self.session)
        )
        self.app = self._make_app()

    def _make_app(self) -> Flask:
        app = Flask("probe")
        app.route("/hello", methods=["GET", "POST"])(self._hello)
        app.post("/size")(self._size)
        app.post("/large/<int:status>")(self._large)
        app.get("/headers")(self._headers)
        app.get("/stream.mjpg")(self._watch)
        app.get("/wait")(self._wait)
        app.get("/long")(self._long)
        app.get("/stuck")(self._stuck)
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

    def _large(self, status: int) -> Response | str:
        if request.environ.get(HEAD_ONLY):
            return Response("no large body from you", status)
        self.watching.set()
        self.released.wait(WITHIN_S)
        return self._size()

    def _watch(self) -> Response:
        self.watching.set()
        response = Takeover(self._begin_pictures, 200, [("Content-Type", "multipart/x-mixed-replace")])
        response.call_on_close(self.ended.set)
        return response

    def _live(self) -> Response:
        answer = upgrade(request.environ, self._begin_texts)
        if answer.status_code == 101:
            answer.call_on_close(self.talked.set)
        return answer

    def _begin_pictures(self, writer: ConnectionWriter) -> None:
        writer.ended = lambda: self._picture_broadcast.leave(writer)
        writer.may_send = lambda: self.allowed
        writer.is_authorized = lambda: self.authorized
        self._picture_broadcast.join(writer, lambda picture: None, self.pictures.number)

    def _begin_texts(self, client: WebSocket) -> None:
        client.writer.ended = lambda: self._text_broadcast.leave(client.writer)
        client.writer.is_authorized = lambda: self.authorized
        client.received = self.heard.put
        self._text_broadcast.join(client.writer, lambda text: None, self.texts.number)
        self.talking.set()

    def _frame_picture(self, number: int, kind: object) -> bytes:
        self.framed += 1
        return BOUNDARY + struct.pack("!I", number) + bytes(PICTURE_BYTES)

    def _frame_text(self, text: str, kind: object) -> bytes:
        self.framed_texts.append(text)
        return frame(text)

    def _wait(self) -> str:
        self.watching.set()
        self.released.wait(WITHIN_S)
        return "waited"

    def _long(self) -> Response:
        response = Response(bytes(10_000) for _ in range(1000))
        response.call_on_close(self.ended.set)
        return response

    def _stuck(self) -> Response:
        def body() -> Iterator[bytes]:
            yield bytes(100_000)
            self.watching.set()
            self.released.wait(WITHIN_S)

        response = Response(body())
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


def send_until_refused(connection: socket.socket, data: bytes) -> None:
    with suppress(OSError):
        connection.sendall(data)


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
        assert probe.talking.wait(WITHIN_S)
        for number in range(20):
            probe.texts.put(json.dumps({"frame": number, "word": "fröhlich"}))
            assert json.loads(client.recv(WITHIN_S)) == {"frame": number, "word": "fröhlich"}
        assert client.ping().wait(WITHIN_S), "the client's own ping got no answer"
        client.close()
        assert client.protocol.close_code == 1000
        assert probe.talked.wait(WITHIN_S)


def test_ok__silent_websocket_outlives_every_limit(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "PING_S", 0.2)
    with running(probe, send_timeout_s=0.4) as server, talk_to(server) as client:
        assert not probe.talked.wait(4.0)  # many pings, and ten times the limit
        probe.texts.put("still here")
        assert client.recv(WITHIN_S) == "still here"


@pytest.mark.parametrize("text", [None, "x" * 30_000], ids=["quiet", "busy"])
def test_ok__stalled_websocket_is_dropped(probe: Probe, tls: Tls | None, text: str | None) -> None:
    with running(probe, tls=tls) as server, ask_websocket(server):
        assert probe.talking.wait(WITHIN_S)
        ended = monotonic() + WITHIN_S
        while text and not probe.talked.wait(0.02) and monotonic() < ended:
            probe.texts.put(str(text))
        assert probe.talked.wait(WITHIN_S), "a client that reads nothing is still connected"


def test_ok__what_a_stalled_websocket_has_not_begun_to_get_ends_with_consent(
    probe: Probe, tls: Tls | None
) -> None:
    with running(probe, tls=tls) as server, ask_websocket(server) as connection:
        assert probe.talking.wait(WITHIN_S)
        (writer,), number = probe._text_broadcast._clients, 0
        while not is_stalled(writer):
            probe.texts.put(f"first {number} {'x' * 1000}")
            number += 1
        probe.session = "second"
        client, texts = Protocol(Side.CLIENT, state=State.OPEN), []
        begin_frames(connection)
        while len(texts) < len(probe.framed_texts) - 1:
            texts += read_texts(connection, client)
        assert texts == probe.framed_texts[:-1], "the last one waited"
        probe.texts.put("second 0")
        assert read_texts(connection, client) == ["second 0"]


def is_stalled(writer: ConnectionWriter) -> bool:
    """Whether something waits for this client, and still does a moment later."""
    return all(not writer.is_idle for _ in range(20) if not time.sleep(0.01))


def begin_frames(connection: socket.socket) -> None:
    """Read the answer of the handshake, and nothing more."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)


def read_texts(connection: socket.socket, client: Protocol) -> list[str]:
    """The texts in what arrives next; at least one."""
    texts: list[str] = []
    while not texts:
        data = connection.recv(65536)
        assert data, "the connection has ended"
        client.receive_data(data)
        frames = (event for event in client.events_received() if isinstance(event, Frame))
        texts = [bytes(each.data).decode() for each in frames if each.opcode is Opcode.TEXT]
    return texts


def test_fail__plain_request_to_a_websocket(probe: Probe) -> None:
    with running(probe) as server:
        response = fetch(server, "/ws/live")
        assert (response.status, response.getheader("Upgrade")) == (426, "websocket")
        assert not probe.talking.is_set()


def test_fail__handshake_without_a_key(probe: Probe) -> None:
    with running(probe) as server:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
        assert fetch(server, "/ws/live", headers=headers).status == 400


def test_ok__messages_of_the_client_arrive_and_large_ones_end_it(probe: Probe) -> None:
    with running(probe) as server, talk_to(server) as client:
        client.send("x" * 4096)
        client.send(b"\x00\xff")
        client.send(["frag", "mented ", "fröhlich"])
        assert probe.heard.get(timeout=WITHIN_S) == "x" * 4096
        assert probe.heard.get(timeout=WITHIN_S) == b"\x00\xff"
        assert probe.heard.get(timeout=WITHIN_S) == "fragmented fröhlich"
        client.send("x" * 4097)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


@pytest.mark.parametrize(
    ("opcode", "payload"),
    [(Opcode.TEXT, b"{}"), (Opcode.PING, b""), (Opcode.PING, b"x" * 100), (Opcode.PONG, b"")],
    ids=["texts", "pings", "large pings", "pongs"],
)
def test_ok__a_client_that_floods_is_ended_and_blocks_no_other(
    probe: Probe, tls: Tls | None, opcode: Opcode, payload: bytes
) -> None:
    flood = Frame(opcode, payload).serialize(mask=True) * 100_000
    with running(probe, tls=tls) as server, ask_websocket(server) as client:
        assert probe.talking.wait(WITHIN_S)
        sender = threading.Thread(target=send_until_refused, args=(client, flood))
        sender.start()
        assert hello(server) < WITHIN_S / 2
        assert probe.talked.wait(WITHIN_S)
        sender.join()
        assert probe.heard.qsize() <= websocket.MOST_FRAMES


@pytest.mark.parametrize("parts", [[b"\xc3\x28"], [b"a\xc3", b"\x28"]], ids=["whole", "in fragments"])
def test_ok__text_that_is_not_utf_8_ends_it_with_1007(probe: Probe, parts: list[bytes]) -> None:
    with running(probe) as server, talk_to(server) as client:
        client.send(parts if len(parts) > 1 else parts[0], text=True)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1007
        assert probe.talked.wait(WITHIN_S) and probe.heard.empty()


def test_ok__closed_slot_closes_the_websocket_with_1001(probe: Probe) -> None:
    with running(probe) as server, talk_to(server) as client:
        assert probe.talking.wait(WITHIN_S)
        probe.texts.close()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


def test_ok__a_login_that_ends_closes_stream_and_websocket(probe: Probe) -> None:
    with running(probe) as server, talk_to(server) as client, open_stream(server) as stream:
        next_picture(stream)
        probe.authorized = False
        assert probe.ended.wait(WITHIN_S)
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(WITHIN_S)
        assert closed.value.rcvd is not None and closed.value.rcvd.code == 1001


def test_ok__a_picture_is_framed_once_for_all(probe: Probe) -> None:
    with running(probe, max_connections=16) as server, ExitStack() as stack:
        streams = [stack.enter_context(open_stream(server)) for _ in range(6)]
        for stream in streams:
            next_picture(stream)
        framed, number = probe.framed, probe.pictures.number
        for _ in range(20):
            for stream in streams:
                next_picture(stream)
        # One more may have come in between, and none for a second viewer.
        assert probe.framed - framed <= probe.pictures.number - number + 1


def test_ok__a_viewer_who_may_not_see_more_gets_no_rest_of_a_picture(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server, ask(server, "/stream.mjpg") as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        assert probe.watching.wait(WITHIN_S) and viewer.recv(100)
        probe.allowed = False
        assert probe.ended.wait(WITHIN_S)


def test_ok__a_viewer_who_is_gone_before_the_first_picture_is_not_served(probe: Probe) -> None:
    def begin(writer: ConnectionWriter) -> None:
        writer.end()
        probe._begin_pictures(writer)

    probe.app.view_functions["_watch"] = lambda: Takeover(begin, 200)
    with running(probe) as server, ask(server, "/stream.mjpg") as viewer:
        read_all(viewer)
        assert not probe._picture_broadcast._clients


def test_fail__a_takeover_that_raises_ends_the_viewer(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    def begin(writer: ConnectionWriter) -> None:
        probe._begin_pictures(writer)
        raise RuntimeError("a bug")

    probe.app.view_functions["_watch"] = lambda: Takeover(begin, 200)
    with running(probe) as server, ask(server, "/stream.mjpg") as viewer:
        read_all(viewer)
        wait_until(lambda: not probe._picture_broadcast._clients)
    assert [record.levelname for record in caplog.records if record.exc_info] == ["ERROR"]


def test_ok__no_picture_is_kept_for_viewers_who_left(probe: Probe) -> None:
    with running(probe) as server:
        with open_stream(server) as stream:
            next_picture(stream)
        assert probe.ended.wait(WITHIN_S)
        broadcast = probe._picture_broadcast
        assert broadcast._item is None and not broadcast._framed


# Misbehaving clients


def test_fail__a_body_of_very_many_chunks(probe: Probe) -> None:
    chunks = "Transfer-Encoding: chunked\r\n"
    with running(probe) as server, ask(server, "/size", chunks, method="POST") as connection:
        connection.sendall(b"1\r\nx\r\n" * 2000)
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")
    assert probe.bodies.empty()


def test_fail__a_pipelined_head_has_no_longer_than_the_first(probe: Probe) -> None:
    with running(probe, send_timeout_s=0.5) as server, dial(server) as connection:
        connection.sendall(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\nGET")
        assert b"HTTP/1.1 408 " in read_all(connection)


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


# CPython's `wrap_socket` leaves its own socket to the garbage collector if the client is gone by then.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_ok__broken_client_is_not_logged_as_an_error(
    probe: Probe, tls: Tls | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with running(probe, tls=tls, max_connections=64) as server:
        for _ in range(50):
            gone = dial(server, encrypt=False)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            gone.close()  # often before the server has begun
        connection = ask(server, "/stream.mjpg")
        connection.recv(1000)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()  # with a reset
        with dial(server, encrypt=False) as rude:
            rude.sendall(b"\x16\x03\x01nonsense\r\n\r\n")
            read_all(rude)
        assert probe.ended.wait(WITHIN_S)
        wait_until(lambda: not server._tasks and not server._admission._peers)
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
        ({"Content-Length": str(TOO_MUCH)}, 413),
        ({"Content-Length": "9" * 20}, 413),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "1", "content-length": "2"}, 400),
        ({"Content-Length": "1", "Transfer-Encoding": "chunked"}, 400),
        ({"Transfer-Encoding": "gzip"}, 501),
        ({"host": "other.example"}, 400),
        ({"X-Space ": "before the colon"}, 400),
        ({"X-Nul": "a\0b"}, 400),
        ({"Sec-WebSocket-Key": "a\x07b"}, 400),
        ({"X-Large": "x" * 65536}, 431),
        ({f"X-{number}": "many" for number in range(5000)}, 431),
        (
            {"Transfer-Encoding": "chunked", "": f"{TOO_MUCH:x}\r\n{'x' * TOO_MUCH}"},
            413,
        ),
    ],
    ids=[
        *("large body", "huge length", "negative body", "two lengths", "length and chunks", "unknown coding"),
        *("two hosts", "space", "NUL", "control character", "large head", "many headers", "large chunk"),
    ],
)
def test_fail__request_over_a_limit_or_malformed(
    probe: Probe, tls: Tls | None, headers: dict[str, str], status: int
) -> None:
    body = headers.get("", "")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name)
    with running(probe, tls=tls) as server, ask(server, "/size", lines, method="POST") as connection:
        connection.sendall(body.encode())
        answer = read_all(connection)
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"h11" not in answer and b"Server: interview-grader\r\n" in answer
    assert probe.bodies.empty()


@pytest.mark.parametrize("target", ["nonsense", "/a#b", "ftp://localhost/hello"])
def test_fail__a_target_that_is_no_path_is_400(probe: Probe, target: str) -> None:
    with running(probe) as server, ask(server, target) as connection:
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_fail__no_http_at_all_is_400(probe: Probe) -> None:
    with running(probe) as server, dial(server) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400 ")


def test_ok__absolute_form_names_the_host(probe: Probe) -> None:
    target = "http://device.local/headers?a=%20"
    with running(probe) as server, ask(server, target, "Connection: close\r\n") as connection:
        found = json.loads(read_all(connection).partition(b"\r\n\r\n")[2])
    assert (found["Host"], found["path"]) == ("device.local", "/headers?a=%20")


def test_ok__header_lines_of_one_name_are_joined_and_no_other_name_can_look_like_it(probe: Probe) -> None:
    lines = "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-For: 192.0.2.2\r\nX_Forwarded_For: 192.0.2.3\r\n"
    with running(probe) as server, ask(server, "/headers", f"{lines}Connection: close\r\n") as connection:
        found = json.loads(read_all(connection).partition(b"\r\n\r\n")[2])
    assert found["X-Forwarded-For"] == "192.0.2.1, 192.0.2.2"
    assert found["peer"] == "127.0.0.1"


def test_ok__a_chunked_body_arrives(probe: Probe, tls: Tls | None) -> None:
    chunks = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
    with running(probe, tls=tls) as server, ask(server, "/size", chunks, method="POST") as connection:
        connection.sendall(b"5\r\nhello\r\n3;ext=1\r\nyou\r\n0\r\n\r\n")
        assert read_all(connection).endswith(b"8")
    assert probe.bodies.get_nowait() == b"helloyou"


@pytest.mark.parametrize("head", ["Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"])
def test_fail__a_request_whose_body_was_cut_off_is_not_executed(
    probe: Probe, tls: Tls | None, head: str
) -> None:
    with running(probe, tls=tls) as server:
        with ask(server, "/size", head, method="POST") as connection:
            connection.sendall(b"5\r\nhello"[: 8 if "chunked" in head else 5])
            if tls is None:
                connection.shutdown(socket.SHUT_WR)
                assert read_all(connection).startswith(b"HTTP/1.1 400 ")
        assert answers(server)
    assert probe.bodies.empty()


LARGE = 1_000_000


@pytest.fixture
def free(probe: Probe) -> Probe:
    """The application, whose views for large bodies do not wait."""
    probe.released.set()
    return probe


def test_ok__a_large_body_comes_if_the_application_allows_it(free: Probe, tls: Tls | None) -> None:
    with running(free, tls=tls, max_large_body_bytes=LARGE) as server:
        head = f"Content-Length: {LARGE}\r\nConnection: close\r\n"
        with ask(server, f"/large/{CONTINUE}", head, method="POST") as connection:
            connection.sendall(bytes(LARGE))
            assert read_all(connection).endswith(b"\r\n\r\n1000000")
    assert free.bodies.get(timeout=WITHIN_S) == bytes(LARGE)


def test_fail__a_large_body_that_the_application_refuses_is_not_read(free: Probe, tls: Tls | None) -> None:
    with running(free, tls=tls, max_large_body_bytes=LARGE) as server:
        for sent in (0, LARGE):  # clients that wait for the answer, and clients that do not
            head = f"Content-Length: {LARGE}\r\n"
            with ask(server, "/large/401", head, method="POST") as connection:
                connection.sendall(bytes(sent))
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 401 ") and answer.endswith(b"no large body from you")
        assert answers(server)
    assert free.bodies.empty()


def test_fail__a_view_that_ignores_the_question_gets_no_large_body(free: Probe) -> None:
    head = f"Content-Length: {LARGE}\r\n"
    with (
        running(free, max_large_body_bytes=LARGE) as server,
        ask(server, "/size", head, method="POST") as connection,
    ):
        connection.sendall(bytes(LARGE))
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert free.bodies.get(timeout=WITHIN_S) == b""


@pytest.mark.parametrize("size", [LARGE + 1, 8_000_000])
def test_fail__above_the_limit_no_body_is_read_and_the_client_learns_why(
    free: Probe, tls: Tls | None, size: int
) -> None:
    head = f"Content-Length: {size}\r\n"
    with (
        running(free, tls=tls, max_large_body_bytes=LARGE) as server,
        ask(server, f"/large/{CONTINUE}", head, method="POST") as connection,
    ):
        connection.sendall(bytes(size))
        answer = read_all(connection)
    answered, _, body = answer.partition(b"\r\n\r\n")
    assert answered.startswith(b"HTTP/1.1 413 ") and b"Content-Type: application/json" in answered
    assert json.loads(body) == {"error": "the body is larger than 1000000 bytes"}
    assert free.bodies.empty()


def test_fail__a_large_body_in_chunks_needs_its_length(free: Probe) -> None:
    with running(free, max_large_body_bytes=LARGE) as server:
        head = "Transfer-Encoding: chunked\r\n"
        with ask(server, f"/large/{CONTINUE}", head, method="POST") as connection:
            send_until_refused(connection, b"%x\r\n%b\r\n0\r\n\r\n" % (LARGE, bytes(LARGE)))
            answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 413 ") and b"has no Content-Length" in answer
    assert free.bodies.empty()


def test_fail__few_large_bodies_are_in_memory_at_a_time(probe: Probe) -> None:
    head = f"Content-Length: {LARGE}\r\nConnection: close\r\n"

    def post() -> socket.socket:
        return ask(server, f"/large/{CONTINUE}", head, method="POST")

    with running(probe, max_large_body_bytes=LARGE, max_connections=16) as server, ExitStack() as clients:
        busy = [clients.enter_context(post()) for _ in range(LARGE_AT_ONCE)]
        for each in busy:
            each.sendall(bytes(LARGE))
        wait_until(lambda: not server._settings.large_bodies._free)
        with post() as refused:
            answer = read_all(refused)
        assert answer.startswith(b"HTTP/1.1 429 ") and b"\r\nRetry-After: 1\r\n" in answer
        assert answers(server), "small requests are answered meanwhile"
        probe.released.set()
        assert all(read_all(each).endswith(b"\r\n\r\n1000000") for each in busy)
        with post() as next_one:
            next_one.sendall(bytes(LARGE))
            assert read_all(next_one).endswith(b"\r\n\r\n1000000")


def test_fail__a_body_that_takes_too_long_gets_408(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.transport.connection.BODY_S", 0.3)
    with running(probe) as server, ask(server, "/size", "Content-Length: 10\r\n", method="POST") as slow:
        assert read_all(slow).startswith(b"HTTP/1.1 408 ")
    assert probe.bodies.empty()


def test_ok__who_expects_100_continue_gets_it_before_the_body(probe: Probe) -> None:
    head = "Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n"
    with running(probe) as server, ask(server, "/size", head, method="POST") as connection:
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 Continue\r\n")
        connection.sendall(b"hi")
        assert read_all(connection).endswith(b"\r\n\r\n2")
        head = head.replace("Content-Length: 2", f"Content-Length: {TOO_MUCH}")
        with ask(server, "/size", head, method="POST") as refused:
            assert read_all(refused).startswith(b"HTTP/1.1 413 ")


def test_ok__head_of_a_page_and_of_a_stream(probe: Probe) -> None:
    with running(probe) as server:
        for path in ("/hello", "/stream.mjpg"):
            with ask(server, path, "Connection: close\r\n", method="HEAD") as connection:
                head, _, body = read_all(connection).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ") and body == b""


def test_ok__http_1_0_is_answered_and_closed(probe: Probe) -> None:
    with running(probe) as server:
        for path, end in (("/hello", b"hello"), ("/long", bytes(10))):
            with dial(server) as connection:
                connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                answer = read_all(connection)
            assert answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(end)
            assert b"chunked" not in answer


def test_ok__pipelined_requests_are_answered_in_order(probe: Probe) -> None:
    with running(probe) as server, dial(server) as connection:
        request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n"
        connection.sendall(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
        assert read_all(connection).count(b"hello") == 2


def test_ok__plain_http_on_the_tls_port_gets_a_reason(probe: Probe, certificate: Tls) -> None:
    with running(probe, tls=certificate) as server, dial(server, encrypt=False) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer


@pytest.mark.parametrize(
    ("ciphers", "works"),
    [("ECDHE+AESGCM", True), ("ECDHE+CHACHA20", True), ("ECDHE+AES+SHA256:!AESGCM", False)],
)
def test_ok__tls_1_2_without_cbc(probe: Probe, certificate: Tls, ciphers: str, works: bool) -> None:
    client = trusting()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    with running(probe, tls=certificate) as server, dial(server, encrypt=False) as raw:
        if works:
            with client.wrap_socket(raw) as wrapped:
                assert wrapped.session is not None and not wrapped.session.has_ticket
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                client.wrap_socket(raw)


def test_ok__a_stalled_download_is_dropped_and_costs_no_thread(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, threads=1, send_timeout_s=1.0) as server, ask(server, "/long"):
        assert max(hello(server) for _ in range(5)) < 2.0
        assert probe.ended.wait(WITHIN_S)


def test_ok__a_long_body_arrives_complete(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls) as server, ask(server, "/long", "Connection: close\r\n") as connection:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert len(response.read()) == 10_000_000
        response.close()


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


def test_ok__silent_connections_make_room_for_newer_ones(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, max_connections=4) as server, ExitStack() as clients:
        for _ in range(12):
            clients.enter_context(dial(server, encrypt=False))
            assert answers(server)


def test_ok__one_too_many_gets_an_answer_and_an_operator_gets_in(probe: Probe, tls: Tls | None) -> None:
    busy = "Connection: close\r\n"

    def behind(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ[CONNECTION].is_over_limit and environ.get("HTTP_X_ROLE") != "operator":
            start_response("503 Service Unavailable", [("Retry-After", "5")])
            return [b"too busy"]
        return app(environ, start_response)

    app, probe.app = probe.app, behind  # type: ignore[assignment]
    with running(probe, tls=tls, max_connections=1) as server:
        with ask(server, "/wait", busy) as first:
            assert probe.watching.wait(WITHIN_S)
            with ask(server, "/hello") as refused:
                answer = read_all(refused)
                assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After: 5\r\n" in answer
            with ask(server, "/hello", "X-Role: operator\r\n") as admitted:
                assert read_all(admitted).endswith(b"hello")
            probe.released.set()
            assert read_all(first).endswith(b"waited")
        wait_until(lambda: answers(server))


def test_ok__who_takes_no_answer_makes_room(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, max_connections=2) as server, ExitStack() as clients:
        for _ in range(2 + OVERFLOW):
            assert clients.enter_context(ask(server, "/long")).recv(1)
        assert answers(server)


def test_ok__one_address_holds_no_more_than_its_share(probe: Probe, tls: Tls | None) -> None:
    with running(probe, tls=tls, max_connections=16, per_address=3) as server, ExitStack() as silent:
        held = [silent.enter_context(dial(server, encrypt=False)) for _ in range(4)]
        assert b"200 OK" not in read_all(held[0]), "the oldest makes room for the newest"
        for each in held[1:]:
            each.settimeout(0.1)
            with pytest.raises(TimeoutError):
                each.recv(1)
        assert answers(server)


def test_ok__a_refusal_is_logged_once_a_minute(probe: Probe, caplog: pytest.LogCaptureFixture) -> None:
    with running(probe, max_connections=2) as server, ExitStack() as clients:
        for _ in range(30):
            clients.enter_context(dial(server))
        assert answers(server)
    lines = [each.getMessage() for each in caplog.records if "too many connections" in each.getMessage()]
    assert len(lines) == 1


def wait_until(done: Callable[[], bool]) -> None:
    began = monotonic()
    while not done():
        assert monotonic() - began < WITHIN_S


# Start and stop


def test_ok__stop_ends_stalled_viewers_with_1001(probe: Probe, tls: Tls | None) -> None:
    with (
        running(probe, tls=tls, threads=1) as server,
        talk_to(server) as client,
        ask(server, "/stream.mjpg"),
    ):
        assert probe.watching.wait(WITHIN_S) and probe.talking.wait(WITHIN_S)
        assert answers(server), "viewers hold no thread"
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


def test_ok__a_body_that_is_being_made_at_the_stop_is_closed_after_it(
    probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    with running(probe) as server, ask(server, "/stuck"):
        assert probe.watching.wait(WITHIN_S)
        assert "http-1" in server.stop(0.6)
        probe.released.set()
        assert probe.ended.wait(WITHIN_S), "what the view holds, such as the place of an export, is free"
        assert server.stop(WITHIN_S) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


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
def test_ok__temporary_accept_error_does_not_stop_the_server(
    probe: Probe, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    real, errors = socket.socket.accept, [error]

    def accept(listener: socket.socket) -> tuple[socket.socket, object]:
        if errors:
            raise errors.pop()
        return real(listener)

    with running(probe) as server:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert answers(server)
        assert errors == [], "it was called and failed"


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


def test_fail__a_hung_loop_is_reported(probe: Probe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.web.transport.server.LOOP_S", 0.1)
    server = Server(probe.app, "127.0.0.1", 0, max_connections=1)
    server.check_moving()
    hung, released = threading.Event(), threading.Event()

    def hang(address: str) -> bool:
        hung.set()
        return not released.wait(WITHIN_S)

    with served(server):
        for _ in range(9):
            server.check_moving()
        assert answers(server)
        monkeypatch.setattr(server._admission, "enter", lambda peer: hang(""))
        with dial(server):
            assert hung.wait(WITHIN_S)
            with pytest.raises(WorkerStuck, match=r"^http has not moved"):
                for _ in range(100):
                    server.check_moving()
                    threading.Event().wait(0.02)
            assert server.stop(0.2) == ["http"]
            released.set()
