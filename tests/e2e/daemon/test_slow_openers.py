"""Strangers who open connections and never finish a request, from many addresses, over TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from appliance.auth.certificate import DeviceCertificate
from appliance.web.app import create_app
from appliance.web.transport import admission
from appliance.web.transport.server import Server
from tests.fakes.far import COOKIE, Client
from tests.fakes.slow_openers import PER_ADDRESS
from tests.fakes.web import make_context, served
from tests.machine import ROOT, has_own_network

OWNER = "127.0.1.1"
GOOD = 40
PASSWORD = "correct horse battery staple"


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
def crowded(server: Server, addresses: int, *, hello: bool) -> Iterator[None]:
    """Slow openers in a process of their own, so that they do not hold the server's interpreter."""
    sources = [f"127.0.0.{2 + number}" for number in range(addresses)]
    command = [sys.executable, "-m", "tests.fakes.slow_openers", "127.0.0.1", str(server.port)]
    crowd = subprocess.Popen(
        [*command, "hellos" if hello else "heads", *sources], stdin=PIPE, stdout=PIPE, cwd=ROOT, text=True
    )
    with crowd:
        assert crowd.stdout is not None and crowd.stdin is not None
        assert crowd.stdout.readline() == "connected\n"
        try:
            yield
        finally:
            crowd.stdin.close()
    assert crowd.returncode == 0


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


@pytest.mark.skipif(not has_own_network(), reason="no right to a network")
@pytest.mark.parametrize("kind", ["hellos", "heads"])
@pytest.mark.parametrize("addresses", [2, 20])
def test_no_request_of_a_logged_in_owner_is_refused_on_a_network_of_strangers(
    tmp_path: Path, addresses: int, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """With real addresses, and everyone in a process of their own."""
    command = [
        "unshare",
        "--net",
        sys.executable,
        "-m",
        "tests.fakes.crowded_network",
        str(tmp_path / "device"),
    ]
    done = subprocess.run(
        [*command, kind, str(addresses), "100"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(found["p95_ms"], "ms, p95 of a connection with its request")
    record_property("p95_ms", found["p95_ms"])
    assert found["claimed"] == 303 and found["answers"] == {"200": 100}
    assert found["log_lines"] <= 2, "one a minute"


@pytest.mark.parametrize("hello", [True, False], ids=["hellos", "heads"])
def test_the_owner_logs_in_and_watches_from_the_address_of_the_crowd(
    server: Server, tmp_path: Path, hello: bool
) -> None:
    owner = Client(server.port, tmp_path, source="127.0.0.2")
    with crowded(server, 1, hello=hello):
        assert owner.log_in("operator", PASSWORD).status == 303
        assert all(owner.request("/api/state").status == 200 for _ in range(GOOD))
