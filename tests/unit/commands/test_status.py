"""`status` with the real server: other users of the machine cannot block it."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.auth.certificate import DeviceCertificate
from appliance.auth.local_token import publish_local_access
from appliance.commands.status.device import device_status, lines
from appliance.configuration.load import Config
from appliance.errors import TooManyAttempts
from appliance.web.api.device_status import DeviceHealth, DeviceStatus
from appliance.web.app import create_app
from appliance.web.transport.server import Server
from tests.fakes.web import make_context, served


def no_configuration() -> Config:
    raise AssertionError("the state directory says where the daemon is")


@pytest.mark.parametrize("encrypted", [True, False])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1"])
def test_other_users_of_the_device_cannot_block_it(tmp_path: Path, host: str, encrypted: bool) -> None:
    """Idle connections and requests of other local users: an update would be rolled back for them."""
    context = make_context(login=True, loopback_is_operator=False, requests_per_s=1)
    tls = DeviceCertificate(tmp_path).current if encrypted else None
    server = Server(create_app(context), host, 0, max_connections=24, per_address=16, tls=tls)
    with served(server), ExitStack() as others:
        publish_local_access(tmp_path, server.url, context.auth.local_token)
        if host != "::1":  # the only loopback address of IPv6
            for _ in range(16):
                others.enter_context(socket.create_connection(("127.0.0.1", server.port)))
        for _ in range(1000):
            try:
                context.auth.request_rates.take("127.0.0.1")
            except TooManyAttempts:
                break
        else:
            raise AssertionError("there is no limit")
        found = device_status(tmp_path, no_configuration)
    assert (found.running, found.health.status, found.state, found.live) == (True, "idle", "idle", False)
    assert bool(found.certificate_sha256) == encrypted


def test_the_token_of_an_earlier_process_shows_only_what_is_public(tmp_path: Path) -> None:
    context = make_context(login=True, loopback_is_operator=False)
    server = Server(create_app(context), "127.0.0.1", 0, max_connections=8)
    with served(server):
        publish_local_access(tmp_path, server.url, "0" * 64)
        found = device_status(tmp_path, no_configuration)
    assert (found.running, found.health.status, found.state) == (True, "idle", None)


def test_an_unexpected_answer_means_not_running(tmp_path: Path) -> None:
    def other(environ: object, start_response: object) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])  # type: ignore[operator]
        return [b"the session is idle"]

    server = Server(other, "127.0.0.1", 0, max_connections=8)  # type: ignore[arg-type]
    with served(server):
        publish_local_access(tmp_path, server.url, "0" * 64)
        found = device_status(tmp_path, no_configuration)
    assert (found.running, found.health.status) == (False, "down")
    assert "does not answer as expected" in str(found.health.reason)


def test_the_lines_omit_unknown_values() -> None:
    found = DeviceStatus(running=True, health=DeviceHealth(status="ok"), address="https://localhost:443/")
    assert list(lines(found)) == [
        "health       ok",
        "address      https://localhost:443/",
        "run it with sudo, or as the service's user, to see more",
    ]
