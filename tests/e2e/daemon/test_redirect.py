"""The redirect port: HTTP requests are redirected to the page, and nowhere else."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.auth.rate_limits import RequestRates
from appliance.web.redirect import HttpsRedirect
from appliance.web.transport.server import Server
from tests.e2e.daemon.driver import command, running
from tests.fakes.far import Client
from tests.fakes.web import served

WITHIN_S = 10.0
OWN = socket.gethostname().lower().partition(".")[0]


@pytest.fixture
def port() -> Iterator[int]:
    """A redirect to a page on port 8443 of a device that is also named grader.example."""
    app = HttpsRedirect(lambda: 8443, ("grader.example",), RequestRates(1000))
    with served(Server(app, "127.0.0.1", 0, max_connections=4, name="redirect")) as server:
        yield server.port


def ask(port: int, head: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to a raw request."""
    with socket.create_connection(("127.0.0.1", port), WITHIN_S) as client:
        client.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n\r\n")
        answer = http.client.HTTPResponse(client, method=head.partition(" ")[0])
        answer.begin()
        found = answer.status, {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
        answer.close()
    return *found, body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("host", "path", "target"),
    [
        ("192.0.2.5", "/", "https://192.0.2.5:8443/"),
        ("192.0.2.5:80", "/sessions?x=1&y=%20", "https://192.0.2.5:8443/sessions?x=1&y=%20"),
        ("[2001:db8::1]:80", "/", "https://[2001:db8::1]:8443/"),
        ("INTERVIEW-GRADER.local", "/mine/a_b-c", "https://interview-grader.local:8443/mine/a_b-c"),
        (f"{OWN}.local", "/%C3%A4", f"https://{OWN}.local:8443/%C3%A4"),
        ("grader.example", "/a//evil.example/", "https://grader.example:8443/a//evil.example/"),
        (f"{OWN}-2.local.:80", "/", f"https://{OWN}-2.local:8443/"),
        ("localhost", "/%0d%0aSet-Cookie:x", "https://localhost:8443/%0D%0ASet-Cookie:x"),
    ],
)
def test_redirects_to_the_page_under_the_requested_name(
    port: int, method: str, host: str, path: str, target: str
) -> None:
    status, headers, body = ask(port, f"{method} {path} HTTP/1.1\nHost: {host}\nConnection: close")
    assert (status, headers["location"], body) == (308, target, b"")
    assert headers["cache-control"] == "no-store"
    assert not {"set-cookie", "strict-transport-security"} & set(headers)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:8443", "[::1", "", "a b", "@x"],
)
def test_no_open_redirect(port: int, host: str) -> None:
    status, headers, body = ask(port, f"GET / HTTP/1.1\nHost: {host}\nConnection: close")
    assert (status, "location" in headers) == (400, False)
    assert b"is not a name of this device" in body


def test_a_user_name_in_the_host_is_dropped(port: int) -> None:
    status, headers, _ = ask(port, "GET / HTTP/1.1\nHost: evil.example@localhost\nConnection: close")
    assert (status, headers.get("location")) in ((400, None), (308, "https://localhost:8443/"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"])
def test_everything_else_is_400(port: int, method: str) -> None:
    status, headers, body = ask(
        port, f"{method} /a HTTP/1.1\nHost: localhost\nContent-Length: 0\nConnection: close"
    )
    assert (status, "location" in headers) == (400, False)
    assert body == f"{method} is not redirected; send it to https://localhost:8443/a\n".encode()


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.0",
        "GET http://evil.example/ HTTP/1.1\nHost: evil.example",
        "GET //evil.example/ HTTP/1.1\nHost: localhost",
        "nonsense",
    ],
)
def test_a_foreign_host_is_400(port: int, head: str) -> None:
    status, headers, _ = ask(port, f"{head}\nConnection: close")
    assert (status, "location" in headers) == (400, False)


def test_on_443_the_target_has_no_port() -> None:
    app = HttpsRedirect(lambda: 443, (), RequestRates(1000))
    with served(Server(app, "127.0.0.1", 0, max_connections=1, name="redirect")) as server:
        _, headers, _ = ask(server.port, "GET /a HTTP/1.1\nHost: 192.0.2.5\nConnection: close")
    assert headers["location"] == "https://192.0.2.5/a"


def test_too_many_requests_get_429() -> None:
    app = HttpsRedirect(lambda: 443, (), RequestRates(0.25))
    with served(Server(app, "127.0.0.1", 0, max_connections=4, name="redirect")) as server:
        seen = [ask(server.port, "GET / HTTP/1.1\nHost: localhost\nConnection: close") for _ in range(2)]
    assert [status for status, *_ in seen] == [308, 429]
    assert int(seen[1][1]["retry-after"]) >= 1
    assert b"requests a second from this address" in seen[1][2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_a_device_on_the_network_redirects_to_its_page(tmp_path: Path) -> None:
    second = free_port()
    with running(
        tmp_path, "--camera", "demo", "--host", "0.0.0.0", "--set", f"web.redirect_port={second}"
    ) as daemon:
        status, headers, _ = ask(second, "GET /healthz HTTP/1.1\nHost: 127.0.0.1\nConnection: close")
        assert (status, headers["location"]) == (308, f"https://127.0.0.1:{daemon.port}/healthz")
        assert Client(daemon.port, daemon.folder / "state").request("/healthz").status in (200, 503)


def test_without_tls_there_is_no_redirect(tmp_path: Path) -> None:
    second = free_port()
    with running(tmp_path, "--camera", "demo", "--set", f"web.redirect_port={second}") as daemon:
        assert daemon.log_lines("web.redirect_port is ignored")
        with pytest.raises(OSError), socket.create_connection(("127.0.0.1", second), WITHIN_S):
            pass


def test_a_port_in_use_is_a_configuration_error(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        done = command(
            *("run", "--camera", "demo", "--host", "0.0.0.0", "--port", "0", "--data-dir", tmp_path),
            *("--set", f"web.redirect_port={port}"),
        )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if "redirect_port" in line]
    assert str(port) in line and "another program listens on this port" in line
    assert "Traceback" not in done.stderr


def test_an_invalid_port_is_a_configuration_error(tmp_path: Path) -> None:
    done = command("check", "--set", "web.redirect_port=70000", "--data-dir", tmp_path)
    assert done.returncode == 2
    assert "web.redirect_port" in done.stderr and "65535" in done.stderr
