"""Drives the product from outside: its process, HTTP, WebSockets, and its output."""

from __future__ import annotations

import base64
import http.client
import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from unittest import mock

import cv2
import numpy as np
from prometheus_client.parser import text_string_to_metric_families
from websockets.sync.client import ClientConnection, connect

from appliance.cli import main
from appliance.system.logging import make_handlers
from appliance.values import Image
from tests.machine import ROOT

PRODUCT = "appliance"
DOUBLES = "tests.e2e.daemon.driver_doubles"
"""The product's command line with test doubles in its registry; see that module."""

LAWFUL = ("other", "practice")
"""Region and purpose of a daemon under test, as if the operator had already set them."""

READY_S = 30.0
"""Limit for a start on a busy machine; another test checks the product's promise."""
STOP_S = 5.0
"""Limit for a stop, as the product promises."""
POLL_S = 0.02

T = TypeVar("T")


def until(probe: Callable[[], T], limit_s: float, what: str) -> T:
    """The result of `probe` as soon as it is true; fails after `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what} (last: {found!r})"
        time.sleep(POLL_S)


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """The environment of a process under test, without the settings of the user who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INTERVIEW_GRADER__")}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}


def command(
    *arguments: str | Path,
    limit_s: float = 60.0,
    environment: dict[str, str] | None = None,
    module: str = PRODUCT,
) -> subprocess.CompletedProcess[str]:
    """Run one command until it exits."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        env=clean_environment(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


def called(
    *arguments: str | Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The same in this process, a second faster, if the test is not about processes, streams or signals."""
    words = list(map(str, arguments))
    ours, everything = logging.getLogger("appliance"), logging.getLogger()
    levels = ours.level, everything.level
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2))
    with (
        mock.patch.dict(os.environ, clean_environment(environment), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        handlers = make_handlers(os.environ)
        try:
            everything.setLevel(logging.INFO)
            for handler in handlers:
                everything.addHandler(handler)
            code = main(words)
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            for handler in handlers:
                everything.removeHandler(handler)
            ours.setLevel(levels[0])
            everything.setLevel(levels[1])
    return subprocess.CompletedProcess(words, code, _written(out), _written(err))


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


def complaints(result: subprocess.CompletedProcess[str]) -> list[str]:
    """What `analyze` or `evaluate` wrote to standard error before its last line, the summary."""
    *lines, last = result.stderr.splitlines()
    assert last.startswith("interview-grader: read "), result.stderr
    return lines


def agreement(version: str) -> dict[str, object]:
    """The body of `/api/session/start`."""
    return {"notice_version": version, "people": 1}


@dataclass(frozen=True)
class Answer:
    """A response, read completely."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Daemon:
    """A running `interview-grader run` on a free port."""

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        module: str = PRODUCT,
        environment: dict[str, str],
        lawful: tuple[str, str] | None = LAWFUL,
    ) -> None:
        """`lawful`: region and purpose, None if not set yet."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._out, self._log = folder / "out", folder / "log"
        port = [] if "--port" in arguments else ["--port", "0"]
        if lawful:
            port += ["--set", f"lawful.region={lawful[0]}", "--set", f"lawful.purpose={lawful[1]}"]
        with self._out.open("wb") as out, self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, "run", *port, "--data-dir", str(folder / "state"), *arguments],
                cwd=ROOT,
                env=clean_environment(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
                start_new_session=True,
            )
        self.port = 0

    def wait_ready(self) -> None:
        """Wait for the line with the address; fails with the log if the process ends first."""
        until(lambda: "\n" in self.out or self.process.poll() is not None, READY_S, "the ready line")
        if "is ready" not in self.out:
            self.process.wait(READY_S)
            raise AssertionError(f"ended with {self.process.returncode} before it was ready: {self.log}")
        self.port = int(self.out.rstrip().rstrip("/").rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def log_lines(self, *words: str) -> list[str]:
        """The lines of the log that contain all these words."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait(self, limit_s: float) -> int:
        """The exit code, within `limit_s`."""
        try:
            return self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {limit_s:g} s: {self.log}") from None

    def stop(self, number: int = signal.SIGTERM, limit_s: float = STOP_S) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.wait(limit_s)

    def kill(self) -> None:
        """Kill it, if it is still running."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def request(
        self,
        path: str,
        method: str = "GET",
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        address: str = "127.0.0.1",
        limit_s: float = 15.0,
    ) -> Answer:
        connection = http.client.HTTPConnection(address, self.port, timeout=limit_s)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def post(self, path: str, content: object = None, **more: Any) -> Answer:
        """POST, with JSON if there is content."""
        body = None if content is None else json.dumps(content).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        return self.request(path, "POST", body=body, headers={**headers, **more.pop("headers", {})}, **more)

    def start_session(self, *, limit_s: float = 15.0, **more: object) -> Answer:
        """Agree to the current notice; `people` and `seat` as given."""
        wanted = agreement(self.state()["notice"]["version"]) | more
        return self.post("/api/session/start", wanted, limit_s=limit_s)

    def stop_session(self) -> Answer:
        return self.post("/api/session/stop")

    def state(self) -> Any:
        return self.request("/api/state").json()

    def metrics(self) -> dict[str, float]:
        """Every sample of `/metrics` without labels."""
        text = self.request("/metrics").body.decode()
        families = text_string_to_metric_families(text)
        samples = (sample for family in families for sample in family.samples)
        return {sample.name: sample.value for sample in samples if not sample.labels}

    def stream(self, path: str = "/stream.mjpg", **more: Any) -> Stream:
        return Stream(self.port, path, **more)

    @contextmanager
    def live(self, **more: Any) -> Iterator[ClientConnection]:
        """A WebSocket on `/ws/live`."""
        # The socket is given, so that no proxy from the environment is used.
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=15)
        address = f"ws://127.0.0.1:{self.port}/ws/live"
        with sock, connect(address, sock=sock, open_timeout=15, **more) as client:
            yield client

    def resident_bytes(self) -> int:
        return 1024 * int(_status(self.pid)["VmRSS"].split()[0])

    def session_members(self) -> list[int]:
        """Every process that belongs to the daemon's own session, itself included."""
        members = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                except OSError:
                    continue  # has ended meanwhile
                if int(fields[3]) == self.pid:
                    members.append(int(entry.name))
        return members


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


@contextmanager
def running(
    folder: Path,
    *arguments: str,
    module: str = PRODUCT,
    environment: dict[str, str] | None = None,
    ends_with: int | None = 0,
    lawful: tuple[str, str] | None = LAWFUL,
) -> Iterator[Daemon]:
    """A daemon that is ready; afterwards SIGTERM ends it within 5 s with exit 0.

    `ends_with=None`: the test ends it itself.
    """
    daemon = Daemon(folder, *arguments, module=module, environment=environment or {}, lawful=lawful)
    try:
        daemon.wait_ready()
        yield daemon
        if ends_with is not None:
            code = daemon.stop()
            assert code == ends_with, f"exit {code}: {daemon.log}"
    finally:
        daemon.kill()


@dataclass(frozen=True)
class Part:
    """One picture of a stream, and when the test read it (Unix seconds)."""

    headers: dict[str, str]
    jpeg: bytes
    read_at: float

    @property
    def number(self) -> int:
        return int(self.headers["X-Frame-Number"])

    @property
    def captured(self) -> float:
        return float(self.headers["X-Timestamp"])

    @property
    def live(self) -> bool:
        return self.headers["X-Live"] == "1"

    @property
    def image(self) -> Image:
        image = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, "not a JPEG"
        return image


class Stream:
    """A viewer of `/stream.mjpg`: iterate over its parts; ends when the server ends it."""

    def __init__(
        self,
        port: int,
        path: str,
        *,
        address: str = "127.0.0.1",
        receive_bytes: int | None = None,
        limit_s: float = 15.0,
        headers: dict[str, str] | None = None,
    ) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(limit_s)
        self._connection = http.client.HTTPConnection(address, port)
        self._connection.sock = self._socket = sock
        try:
            sock.connect((address, port))
            self._connection.request("GET", path, headers=headers or {})
            self.response = self._connection.getresponse()
        except BaseException:
            self._connection.close()
            raise
        self.status = self.response.status
        self._boundary = b"--" + (self.response.headers.get_param("boundary") or "").encode()

    def holds_bytes(self) -> int:
        """How much unread data the viewer's kernel may hold; it grows with what was read before."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Part]:
        assert self.status == 200, f"{self.status}: {self.response.read()!r}"
        while (part := self._part()) is not None:
            yield part

    def take(self, count: int) -> list[Part]:
        """`count` parts; fails if the stream ends before."""
        parts = [part for part, _ in zip(self, range(count), strict=False)]
        assert len(parts) == count, f"the stream ended after {len(parts)} of {count} parts"
        return parts

    def ends(self) -> list[Part]:
        """All parts until the server ends the stream; the last may be incomplete if we were slow."""
        parts: list[Part] = []
        with suppress(http.client.IncompleteRead, ConnectionResetError):
            parts.extend(self)
        return parts

    def close(self) -> None:
        self.response.close()
        self._connection.close()

    def _part(self) -> Part | None:
        line = self.response.readline()
        while line.rstrip() in (b"", self._boundary) and line:
            line = self.response.readline()
        headers = {}
        while line not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name] = value.strip()
            line = self.response.readline()
        if not headers:
            return None
        jpeg = self.response.read(int(headers["Content-Length"]))
        return Part(headers, jpeg, time.time())


def open_websocket(
    port: int, *, path: str = "/ws/live", headers: Sequence[str] = (), receive_bytes: int = 0
) -> socket.socket:
    """A TCP connection that requested a WebSocket and has not read the answer."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.settimeout(15)
    sock.connect(("127.0.0.1", port))
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *headers,
        "",
        "",
    ]
    sock.sendall("\r\n".join(lines).encode())
    return sock


def server_holds(port: int, client_port: int) -> bool:
    """Whether the server's end of a TCP connection of this machine is still open (Linux's own table)."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, state = line.split()[1:4]
        if int(local.rpartition(":")[2], 16) == port and int(remote.rpartition(":")[2], 16) == client_port:
            return state == "01"  # ESTABLISHED
    return False


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def make_clip(path: Path, frames: Sequence[Image], fps: float = 30.0) -> Path:
    """An MP4 file of these frames."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (width, height))
    for frame in frames:
        writer.write(frame)
    writer.release()
    assert path.stat().st_size > 0
    return path


def clip_frames(path: Path, count: int, first: int = 0) -> list[Image]:
    """`count` frames of a video file."""
    capture = cv2.VideoCapture(str(path))
    try:
        found = []
        for number in range(first + count):
            done, image = capture.read() if number >= first else (capture.grab(), None)
            assert done, f"{path} ends at frame {number}"
            if image is not None:
                found.append(np.asarray(image, np.uint8))
        return found
    finally:
        capture.release()
