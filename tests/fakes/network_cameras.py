"""Cameras on the network: an MJPEG sender in this process, and GStreamer's RTSP server in its own."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.values import Image
from tests.fakes.files import encoded
from tests.fakes.scene import Scene
from tests.machine import has_rtsp_server

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_PROGRAM = Path(__file__).with_name("rtsp_server.py")
NO_RTSP = "no RTSP server of GStreamer"
RTSP_READY_S = 20.0
_ENDLESS = 2_000_000_000


def scene_jpeg(number: int) -> bytes:
    """A picture of `Scene`, nearly without loss."""
    return encoded(Scene().picture(number, 320, 240), ".jpg")


@dataclass
class Mjpeg:
    """How an MJPEG sender behaves; may be changed while it sends."""

    picture: Callable[[int], bytes] = scene_jpeg
    pause_s: float = 1 / 30
    boundary: str | None = "frame"
    """As the header states it; None: not at all."""
    delimiter: str = "--frame"
    """As the body has it."""
    lengths: bool = True
    chunked: bool = False
    login: tuple[str, str, str] | None = None
    """basic or digest, user, password."""
    redirect: str = ""
    status: int = 200
    silent: bool = False
    """Answers nothing."""
    stalls: bool = False
    """Sends no further picture."""
    picture_pause_s: float = 0.0
    """Between two bytes of a picture; 0: it is sent at once."""
    endless: bool = False
    """The first picture has no end."""


@dataclass
class MjpegSender:
    """An HTTP server with one stream, below any path. Each connection begins with picture 0."""

    behaviour: Mjpeg = field(default_factory=Mjpeg)
    tls: ssl.SSLContext | None = None
    address: str = "127.0.0.1"
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Path and Authorization of each request."""
    port: int = 0
    _server: Any = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}:{self.port}/stream"

    def start(self) -> None:
        """Listen, on the same port as before."""
        sender = self

        class Handler(_Handler):
            pass

        Handler.sender = sender
        server = _Server((self.address, self.port), Handler)
        if self.tls:
            server.socket = self.tls.wrap_socket(server.socket, server_side=True)
        self.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self._server = server, thread

    def stop(self) -> None:
        """End all connections, and do not listen; harmless if it does not run."""
        if self._server:
            server, thread = self._server
            server.shutdown()
            thread.join()
            server.end_connections()
            server.server_close()  # waits for the handlers
            self._server = None


@contextmanager
def mjpeg_sender(
    behaviour: Mjpeg | None = None, *, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
) -> Iterator[MjpegSender]:
    """A sender that runs until the end of the block."""
    sender = MjpegSender(behaviour or Mjpeg(), tls, address)
    sender.start()
    try:
        yield sender
    finally:
        sender.stop()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True

    def __init__(self, *arguments: Any) -> None:
        self._connections: set[socket.socket] = set()
        self.is_over = threading.Event()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def end_connections(self) -> None:
        self.is_over.set()
        for each in list(self._connections):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sender: MjpegSender
    server: _Server

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        how = self.sender.behaviour
        given = self.headers.get("Authorization", "")
        self.sender.requests.append((self.path, given))
        self.close_connection = True
        if how.silent:
            self.server.is_over.wait(30)
        elif how.redirect:
            self._answer(302, Location=how.redirect)
        elif how.login and not _is_right(how.login, given, self.path):
            challenge = 'Basic realm="camera"'
            if how.login[0] == "digest":
                challenge = 'Digest realm="camera", nonce="1234", qop="auth", algorithm=MD5'
            self._answer(401, **{"WWW-Authenticate": challenge})
        elif how.status != 200:
            self._answer(how.status)
        else:
            with contextlib.suppress(OSError):
                self._stream(how)

    def _answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "0"}.items():
            self.send_header(name, value)
        self.end_headers()

    def _stream(self, how: Mjpeg) -> None:
        self.send_response(200)
        kind = "multipart/x-mixed-replace"
        self.send_header("Content-Type", kind if how.boundary is None else f"{kind}; boundary={how.boundary}")
        if how.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        number = 0
        while not self.server.is_over.is_set():
            if not how.stalls:
                jpeg = how.picture(number)
                stated = _ENDLESS if how.endless else len(jpeg)
                length = f"Content-Length: {stated}\r\n" if how.lengths else ""
                head = f"{how.delimiter}\r\nContent-Type: image/jpeg\r\n{length}\r\n"
                self._write(head.encode())
                while how.endless:
                    self._write(bytes(65536))
                if how.picture_pause_s:
                    for value in jpeg:
                        self._write(bytes([value]))
                        self.server.is_over.wait(how.picture_pause_s)
                self._write(jpeg + b"\r\n")
                number += 1
            self.server.is_over.wait(how.pause_s)

    def _write(self, data: bytes) -> None:
        chunk = b"%x\r\n%s\r\n" % (len(data), data) if self.sender.behaviour.chunked else data
        self.wfile.write(chunk)
        self.wfile.flush()


def _is_right(login: tuple[str, str, str], given: str, path: str) -> bool:
    kind, user, password = login
    if kind == "basic":
        return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    said = dict(re.findall(r'(\w+)="?([^",]*)', given))
    if not given.startswith("Digest ") or said["uri"] != path:
        return False
    proof = (
        f"{_md5(f'{user}:camera:{password}')}:1234:{said['nc']}:{said['cnonce']}:auth:{_md5(f'GET:{path}')}"
    )
    return said["response"] == _md5(proof)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@dataclass
class RtspSender:
    """GStreamer's RTSP server in a process of its own: a ball on blue, below /live."""

    encoder: str = "x264enc tune=zerolatency key-int-max=30 ! rtph264pay"
    width: int = 322
    height: int = 240
    fps: int = 30
    login: tuple[str, str] | None = None
    sizes: bool = False
    """Changes to half of the size and back every second."""
    port: int = 0
    _process: Any = None

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def start(self) -> None:
        """Send, on the same port as before."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        size = f"video/x-raw,format=I420,width={self.width},height={self.height},framerate={self.fps}/1"
        ball = (
            "videotestsrc is-live=true pattern=ball background-color=4278190335 foreground-color=4294901760"
        )
        words = f"( {ball} ! videoscale ! capsfilter name=size caps={size} ! {self.encoder} name=pay0 )"
        arguments = [str(self.port), words, ":".join(self.login or ()), "sizes" if self.sizes else ""]
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, "-I", str(RTSP_PROGRAM), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout.readline().strip() == "ready"

    def freeze(self) -> None:
        """Stop the process, as a camera that hangs; its connections stay."""
        self._process.send_signal(19)

    def stop(self) -> None:
        """Kill it; harmless if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def first(self) -> Image:
        """The picture without the ball."""
        picture = np.zeros((self.height, self.width, 3), np.uint8)
        picture[:, :, 0] = 255
        return picture


@contextmanager
def rtsp_sender(**how: Any) -> Iterator[RtspSender]:
    """A sender that runs until the end of the block; skips without GStreamer's server."""
    if not has_rtsp_server():
        pytest.skip(NO_RTSP)
    sender = RtspSender(**how)
    try:
        sender.start()
        yield sender
    finally:
        sender.stop()
