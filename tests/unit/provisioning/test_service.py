"""What the updater asks the service: on this device only, whatever the service says."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from device.errors import DeviceError, Refused
from device.system import service

from appliance.auth.certificate import DeviceCertificate
from appliance.errors import TooManyAttempts
from appliance.web.app import create_app
from appliance.web.transport.per_address import Crowd
from appliance.web.transport.server import Server
from tests.fakes.sites import make_site, served

HEALTHY = json.dumps({"status": "idle"}).encode()


class Answering(http.server.ThreadingHTTPServer):
    """Keeps what it was asked, and answers `body`, or sends on to `elsewhere`."""

    def __init__(self, address: str) -> None:
        self.asked: list[str] = []
        self.authorized: list[str] = []
        self.body, self.elsewhere, self.refuses_tokens = HEALTHY, "", False
        super().__init__((address, 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_port}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Answering

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.authorized.append(self.headers.get("Authorization", ""))
        refused = self.server.refuses_tokens and "Authorization" in self.headers
        self.send_response(302 if self.server.elsewhere else 401 if refused else 200)
        self.send_header("Location", self.server.elsewhere)
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[Answering]:
    with Answering("127.0.0.1") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def status_line(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the service says of itself; to be filled in."""
    said = {"StatusText": "", "MainPID": "7"}
    monkeypatch.setattr(service, "show", lambda key, unit="": said[key])
    monkeypatch.setattr(service, "succeeds", lambda *words: True)
    monkeypatch.setattr(service, "last_words", lambda: "nothing")
    return said


@pytest.mark.parametrize(
    "address",
    [
        "http://192.0.2.1:80",
        "https://evil.example:443",
        "http://0.0.0.0:80",
        "https://[2001:db8::1]:443",
        "http://127.0.0.1.evil.example:80",
        "http://127.1:80",
    ],
)
def test_no_other_address_is_opened(
    status_line: dict[str, str], monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def opened(*arguments: object, **more: object) -> None:
        raise AssertionError(f"opened: {arguments}")

    status_line["StatusText"] = f"open {address}/"
    monkeypatch.setattr("urllib.request.OpenerDirector.open", opened)
    with pytest.raises(DeviceError, match="expected this device's own"):
        service.ask("/healthz")
    with pytest.raises(Refused, match="perhaps live"):
        service.refuse_while_live()
    service.wait_steady(1.0, 0.0)
    assert service.wait_healthy() == f"not asked: it serves {address} only"


def test_what_listens_everywhere_is_asked_here(status_line: dict[str, str]) -> None:
    with answering() as server:
        status_line["StatusText"] = f"serving http://localhost:{server.server_port}/"
        assert service.ask("/healthz") == {"status": "idle"}
        assert service.address() == server.url, "not a name, which could be looked up"


def test_the_loopback_is_asked_and_sends_nobody_on(status_line: dict[str, str]) -> None:
    with answering() as server, answering() as other:
        status_line["StatusText"] = f"open {server.url}/"
        assert service.ask("/healthz") == {"status": "idle"}
        server.elsewhere = f"{other.url}/stolen"
        assert service.ask("/healthz") == {"status": "idle"}, "the answer itself, not what it points to"
        assert other.asked == [] and server.asked == ["/healthz"] * 2


def test_an_answer_without_an_end_is_no_answer(status_line: dict[str, str]) -> None:
    with answering() as server:
        status_line["StatusText"] = f"open {server.url}/"
        server.body = b" " * (2 << 20) + HEALTHY
        with pytest.raises(DeviceError, match="does not end"):
            service.ask("/healthz")


@pytest.mark.parametrize(
    ("content", "sent"),
    [("a1" * 32, "Bearer " + "a1" * 32), ("root:x:0:0", ""), ("a1" * 33, ""), ("A1" * 32, ""), ("", "")],
)
def test_root_asks_with_the_services_token(
    status_line: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, sent: str
) -> None:
    monkeypatch.setattr(service, "LOCAL_TOKEN", tmp_path / "local-token")
    (tmp_path / "local-token").write_text(content)
    with answering() as server:
        status_line["StatusText"] = f"serving {server.url}/"
        service.ask("/api/state")
        assert server.authorized == [sent]


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_root_sends_no_other_file_as_a_token(
    status_line: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    file = tmp_path / "local-token"
    monkeypatch.setattr(service, "LOCAL_TOKEN", file)
    if kind == "link":
        (tmp_path / "secret").write_text("a1" * 32)
        file.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    with answering() as server:
        status_line["StatusText"] = f"serving {server.url}/"
        service.ask("/api/state")
        assert server.authorized == [""]


def test_a_token_that_is_not_known_is_left_out(
    status_line: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older release knows none, and asks for none on loopback."""
    monkeypatch.setattr(service, "LOCAL_TOKEN", tmp_path / "local-token")
    (tmp_path / "local-token").write_text("a1" * 32)
    with answering() as server:
        server.refuses_tokens = True
        status_line["StatusText"] = f"serving {server.url}/"
        assert service.ask("/api/state") == {"status": "idle"}
        assert [bool(each) for each in server.authorized] == [True, False]


def test_a_service_that_does_not_tell_root_its_state_is_not_healthy(
    status_line: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOCAL_TOKEN", tmp_path / "local-token")
    with answering() as server:
        status_line["StatusText"] = f"serving {server.url}/"
        server.body = json.dumps({"status": "ok", "error": "log in first"}).encode()
        assert service._fault() == "/api/state: log in first"


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_what_others_on_the_device_take_is_not_taken_from_root(
    status_line: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, encrypted: bool
) -> None:
    """Idle connections and requests of other local users: an update would be taken back for them."""
    site = make_site(login=True, loopback_is_operator=False, requests_per_s=1)
    (tmp_path / "local-token").write_text(site.auth.local_token)
    monkeypatch.setattr(service, "LOCAL_TOKEN", tmp_path / "local-token")
    tls = DeviceCertificate(tmp_path).current if encrypted else None
    server = Server(create_app(site), host, 0, max_connections=24, crowd=Crowd(16), tls=tls)
    with served(server), ExitStack() as others:
        status_line["StatusText"] = f"serving {server.url}"
        for _ in range(16):
            others.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        for _ in range(1000):
            try:
                site.auth.request_rates.take("127.0.0.1")
            except TooManyAttempts:
                break
        else:
            raise AssertionError("there is no limit")
        assert service._fault() == ""
