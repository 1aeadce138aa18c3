"""Who may do what: the Host and Origin of each request, and what a viewer on the network gets."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from appliance.composition.appliance import make_appliance
from appliance.configuration import load
from appliance.configuration.layers import ConfigOptions
from appliance.web.security import policy
from tests.e2e.daemon.driver import Daemon, Stream, agreement, command, open_websocket, running
from tests.fakes.consent import NOTICE

FAR = "192.0.2.77"
"""An address for documentation (RFC 5737), for requests made inside this process."""

FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:8080",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "192.0.2.9",
]
FOREIGN_ORIGINS = [
    "http://evil.example",
    "https://127.0.0.1",
    "http://127.0.0.1:1",
    "http://localhost",
    "null",
]


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_foreign_host_is_refused_everywhere(demo: Daemon, host: str) -> None:
    for path in ("/", "/stream.mjpg", "/api/state", "/healthz", "/metrics", "/static/live.js", "/nothing"):
        answer = demo.request(path, headers={"Host": host})
        if path == "/healthz" and host == "192.0.2.9":
            assert answer.status == 200, "a load balancer asks by address"
            continue
        assert answer.status == 400, path
        assert host in answer.json()["error"]
    assert demo.post("/api/session/stop", headers={"Host": host}).status == 400
    assert demo.state()["state"] == "live"


def test_foreign_host_is_refused_by_the_websocket(demo: Daemon) -> None:
    with socket.create_connection(("127.0.0.1", demo.port), timeout=10) as sock:
        sock.sendall(
            b"GET /ws/live HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert sock.recv(64).startswith(b"HTTP/1.1 400")


def test_own_names_are_known(demo: Daemon) -> None:
    for host in (
        "127.0.0.1",
        "localhost",
        f"localhost:{demo.port}",
        "LOCALHOST",
        "[::1]",
        f"[::1]:{demo.port}",
    ):
        assert demo.request("/api/state", headers={"Host": host}).status == 200, host


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_foreign_origin_changes_nothing(demo: Daemon, origin: str) -> None:
    for path in ("/api/session/stop", "/api/session/start"):
        assert demo.post(path, {}, headers={"Origin": origin}).status == 403
    assert demo.state()["state"] == "live"


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_foreign_origin_gets_no_websocket(demo: Daemon, origin: str) -> None:
    with open_websocket(demo.port, headers=[f"Origin: {origin}"]) as sock:
        assert sock.recv(64).startswith(b"HTTP/1.1 403")


def test_cross_site_request_without_an_origin_is_refused(demo: Daemon) -> None:
    for site in ("cross-site", "same-site"):
        assert demo.post("/api/session/stop", headers={"Sec-Fetch-Site": site}).status == 403
    assert demo.state()["state"] == "live"


def test_own_origin_is_accepted(demo: Daemon) -> None:
    own = f"http://127.0.0.1:{demo.port}"
    assert demo.post("/api/session/start", agreement(NOTICE), headers={"Origin": own}).status == 200
    with open_websocket(demo.port, headers=[f"Origin: {own}"]) as sock:
        assert sock.recv(64).startswith(b"HTTP/1.1 101")


@pytest.mark.parametrize(
    "path", ["/nothing", "/api", "/static/nothing.js", "/static/../app.py", "/%2e%2e/etc/passwd"]
)
def test_unknown_route(demo: Daemon, path: str) -> None:
    answer = demo.request(path)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/"),
        ("DELETE", "/api/state"),
        ("PUT", "/healthz"),
        ("GET", "/api/session/start"),
        ("GET", "/api/session/stop"),
        ("POST", "/stream.mjpg"),
    ],
)
def test_wrong_method(demo: Daemon, method: str, path: str) -> None:
    answer = demo.request(path, method)
    assert answer.status == 405
    assert answer.headers["Allow"]
    assert answer.json()["error"]


@pytest.mark.parametrize("size", [70_000, 2_000_000, 10**12])
def test_body_that_is_too_large_is_refused_unread(demo: Daemon, size: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=10)
    try:
        connection.putrequest("POST", "/api/session/start")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        assert connection.getresponse().status == 413
    finally:
        connection.close()
    assert demo.request("/healthz").status == 200


@pytest.mark.parametrize("host", ["192.0.2.1", "nothing.invalid"])
@pytest.mark.parametrize("opened", ["true", "false"])
def test_address_of_another_machine_is_refused(tmp_path: Path, host: str, opened: str) -> None:
    refused = command(
        *("run", "--camera", "demo", "--host", host, "--port", "0", "--data-dir", tmp_path),
        *("--set", f"access.open_to_network={opened}"),
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert host in line and "listen" in line


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that anyone on the network can reach."""
    folder: Path = tmp_path_factory.mktemp("opened")
    reach = ("--host", "0.0.0.0", "--set", "access.open_to_network=true")
    with running(folder, "--camera", "demo", *reach) as daemon:
        yield daemon


def own_address() -> str:
    """An address of this machine that is not loopback; loopback if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(
                (FAR, 9)
            )  # sends nothing: the kernel only chooses the route, and with it the source address
        except OSError:
            return "127.0.0.1"
        return str(sock.getsockname()[0])


def test_open_daemon_logs_a_warning(opened: Daemon) -> None:
    assert opened.log_lines("WARNING", "access.open_to_network")
    page = opened.request("/").body.decode()
    assert 'id="banner"' in page and "network" in page and "no login" in page
    assert opened.out.startswith("Interview Grader is ready: open http://localhost:")


def test_client_on_the_network_is_a_viewer(opened: Daemon) -> None:
    address = own_address()
    refused = 200 if address == "127.0.0.1" else 403  # on loopback every caller is the operator
    assert opened.request("/", address=address).status == 200
    with Stream(opened.port, "/stream.mjpg", address=address) as stream:
        assert stream.take(2)[-1].live
    for path in ("/api/state", "/snapshot.jpg", "/healthz", "/static/live.js"):
        assert opened.request(path, address=address).status == 200, path
    for pretended in (
        {},
        {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Real-IP": "127.0.0.1"},
    ):
        assert opened.request("/metrics", address=address, headers=pretended).status == refused
        answer = opened.post("/api/session/start", agreement(NOTICE), address=address, headers=pretended)
        assert answer.status == refused
        assert answer.json()
    assert opened.post("/api/session/stop", address=address).status == refused
    assert opened.request("/", address=address, headers={"Host": "evil.example"}).status == 400


def test_client_on_loopback_is_operator_of_an_open_daemon(opened: Daemon) -> None:
    assert opened.request("/metrics").status == 200
    assert opened.post("/api/session/start", agreement(NOTICE)).status == 200


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """The application of the product, in this process, without running workers."""
    options = ConfigOptions(
        camera="demo", settings=["access.open_to_network=true"], data_dir=tmp_path_factory.mktemp("app")
    )
    with ExitStack() as stack:
        made = make_appliance(load.load_config(options, {}), stop=threading.Event(), failed=pytest.fail)
        for slot in (made.frames, made.readings, made.jpegs):
            stack.callback(slot.close)
        yield made.servers[0].app


def far_client(app: Flask) -> FlaskClient:
    client = app.test_client()
    client.environ_base["REMOTE_ADDR"] = FAR
    return client


def test_every_route_declares_who_may_call_it(app: Flask) -> None:
    known = {policy.PUBLIC, policy.VIEWER, policy.OPERATOR, policy.TOKEN, policy.LOCAL}
    known |= {policy.ANALYZE, policy.CAMERA}
    declared = {rule.rule: policy.policy_of(app, rule.endpoint) for rule in app.url_map.iter_rules()}
    assert set(declared.values()) <= known
    expected = {
        "/": policy.VIEWER,
        "/stream.mjpg": policy.VIEWER,
        "/snapshot.jpg": policy.VIEWER,
        "/ws/live": policy.VIEWER,
        "/api/state": policy.VIEWER,
        "/api/session/start": policy.OPERATOR,
        "/api/session/stop": policy.OPERATOR,
        "/healthz": policy.PUBLIC,
        "/metrics": policy.TOKEN,
        "/static/<path:filename>": policy.PUBLIC,
    }
    assert {rule: declared[rule] for rule in expected} == expected


def test_route_without_a_policy_is_refused_at_the_start(app: Flask) -> None:
    careless = Flask("careless")
    careless.add_url_rule("/open", "open", lambda: "to everyone")
    with pytest.raises(LookupError, match="open"):
        policy.require_policies(careless)


def test_operator_routes_refuse_a_client_on_the_network(app: Flask) -> None:
    client = far_client(app)
    for rule in app.url_map.iter_rules():
        if policy.policy_of(app, rule.endpoint) not in (policy.OPERATOR, policy.TOKEN):
            continue
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            answer = client.open(
                rule.rule.replace("<any(csv, json, pdf):kind>", "csv"),
                method=method,
                data=json.dumps({}),
                content_type="application/json",
            )
            assert answer.status_code == 403, rule.rule
            assert answer.json["error"]


def test_page_on_the_network_offers_no_start(app: Flask) -> None:
    near, far = app.test_client().get("/").text, far_client(app).get("/").text
    assert 'id="start"' in near and 'id="stop"' in near
    assert 'id="start"' not in far and 'id="stop"' not in far
    assert 'id="banner"' in far
