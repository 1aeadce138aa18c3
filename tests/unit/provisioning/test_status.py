"""The status of the running release: from its JSON, or from `/healthz` of an older one."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from device.errors import DeviceError, UserError
from device.system import service
from device.system import status as module
from device.system.sandbox import Sandbox
from device.system.status import RunningRelease, Status, listening

from appliance.web.api.device_status import DeviceHealth, DeviceStatus

OLDER = "echo \"interview-grader: argument COMMAND: invalid choice: 'status'\" >&2; exit 2"
"""The output of a release without the command."""


class Device:
    """A release whose command is a script, and the answers of systemd about its service."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.program = folder / "venv/bin/interview-grader"
        self.program.parent.mkdir(parents=True)
        self.runs, self.process = True, "7"
        monkeypatch.setattr(service, "is_running", lambda: self.runs)
        monkeypatch.setattr(service, "unit_property", lambda key, unit="": self.process)
        monkeypatch.setattr(service, "last_log_line", lambda: "its last line")
        self.release = RunningRelease(Sandbox(folder, folder, user=""))

    def does(self, script: str) -> None:
        self.program.write_text(f"#!/bin/sh\n{script}\n")
        self.program.chmod(0o755)

    def says(self, **changes: Any) -> None:
        """The answer of this release's own model, with these changes."""
        status = {
            "running": True,
            "health": DeviceHealth(status="idle"),
            "state": "idle",
            "live": False,
            **changes,
        }
        text = DeviceStatus.model_validate(status).model_dump_json(by_alias=True)
        assert "'" not in text
        self.does(f"test \"$*\" = 'status --json' && echo '{text}'")


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tmp_path, monkeypatch)


def test_everything_comes_from_the_json(device: Device) -> None:
    device.says(address="https://room.local/", certificate_sha256="AA:BB", first_code="C", lamps=True)
    assert device.release.status() == Status(
        running=True,
        health="idle",
        state="idle",
        live=False,
        address="https://room.local/",
        certificate_sha256="AA:BB",
        first_code="C",
        lamps=True,
    )


@pytest.mark.parametrize("data", [[], {}, {"health": "ok"}, {"running": "yes"}, None])
def test_other_json_is_not_a_status(data: Any) -> None:
    with pytest.raises(ValueError, match="not a status"):
        Status.from_json(data)


# --- refusing ---


def test_a_session_with_people_is_not_stopped(device: Device) -> None:
    device.says(state="recording", live=True)
    with pytest.raises(UserError, match=r"a session is recording; .*--now"):
        device.release.require_no_live_session()


@pytest.mark.parametrize("changes", [{}, {"state": "live", "live": False}])
def test_nothing_is_refused_without_people(device: Device, changes: dict[str, Any]) -> None:
    device.says(**changes)
    device.release.require_no_live_session()


@pytest.mark.parametrize("script", ["exit 1", "echo '{}'", "echo 'a session is idle'", OLDER])
def test_without_an_answer_a_session_may_be_live(device: Device, script: str) -> None:
    device.does(script)
    with pytest.raises(UserError, match=r"may be live; .*--now"):
        device.release.require_no_live_session()
    device.runs = False
    device.release.require_no_live_session()


def test_a_daemon_that_does_not_answer_may_be_live(device: Device) -> None:
    device.says(running=False, health={"status": "down", "reason": "timed out"}, state=None, live=None)
    with pytest.raises(UserError, match="timed out; a session may be live"):
        device.release.require_no_live_session()


def test_a_command_that_cannot_be_run_is_a_fault(device: Device) -> None:
    with pytest.raises(UserError, match="may be live"):
        device.release.require_no_live_session()
    assert device.release.fault() == "nothing answers /healthz on this device"


# --- healthy ---


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"health": {"status": "ok"}, "state": "live"}, ""),
        ({"health": {"status": "failing", "reason": "camera lost"}}, "/healthz: camera lost"),
        ({"health": {"status": "starting"}}, "/healthz: starting"),
        ({"running": False, "health": {"status": "down", "reason": "nothing answers"}}, "nothing answers"),
        (
            {"state": None},
            "it does not report its state to its own user; check that it can write its state directory",
        ),
        ({"storage": {"state": "full", "reason": "no room"}}, ""),
        ({"storage": {"state": "read_only", "reason": "of a newer version"}}, "of a newer version"),
        ({"storage": {"state": "failed", "reason": None}}, "failed"),
        ({"running": None, "health": {"status": "unknown", "reason": "not asked"}, "state": None}, ""),
    ],
)
def test_why_a_release_is_not_healthy(device: Device, changes: dict[str, Any], fault: str) -> None:
    device.says(**changes)
    assert device.release.fault() == fault


def test_a_service_that_ended_is_not_healthy(device: Device) -> None:
    device.says()
    device.runs = False
    assert device.release.fault() == "the service is not running: its last line"


def test_one_process_must_stay_healthy(device: Device) -> None:
    device.says()
    device.release.wait_until_steady(1.0, 0.0)
    device.says(health={"status": "failing", "reason": "camera lost"})
    with pytest.raises(DeviceError, match="not healthy within 0 s: /healthz: camera lost"):
        device.release.wait_until_steady(0.0, 0.0)


def test_the_installer_waits_for_the_first_answer(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.says(health={"status": "failing", "reason": "camera lost"})
    assert device.release.wait_until_answering().words == "camera lost"
    device.says(running=False, health={"status": "down", "reason": "nothing answers"})
    monkeypatch.setattr(module, "READY_S", 0.0)
    with pytest.raises(DeviceError, match="nothing answers; its last line"):
        device.release.wait_until_answering()


# --- a release without the command ---


class _Handler(http.server.BaseHTTPRequestHandler):
    body, location = b"", ""

    def do_GET(self) -> None:
        self.send_response(302 if self.location else 200)
        self.send_header("Location", self.location)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def answering(body: bytes, location: str = "", address: str = "127.0.0.1") -> Iterator[str]:
    """A server in this process; yields its port."""
    handler = type("Handler", (_Handler,), {"body": body, "location": location})
    with http.server.ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_an_older_release_is_queried_for_its_health(device: Device) -> None:
    device.does(OLDER)
    device.process = str(os.getpid())
    with answering(json.dumps({"status": "idle", "reason": None}).encode()):
        assert device.release.status() == Status(running=True, health="idle", live=False, is_complete=False)
        assert device.release.fault() == ""
        device.release.require_no_live_session()
    with answering(json.dumps({"status": "failing", "reason": "camera lost"}).encode()):
        assert device.release.fault() == "/healthz: camera lost"
        with pytest.raises(UserError, match="may be live"):
            device.release.require_no_live_session()
    with answering(b"It is idle."), pytest.raises(UserError, match="may be live"):
        device.release.require_no_live_session()


def test_a_redirect_and_an_endless_answer_are_not_followed(device: Device) -> None:
    device.does(OLDER)
    device.process = str(os.getpid())
    idle = json.dumps({"status": "idle"}).encode()
    with answering(b"", location="http://192.0.2.1/healthz"):
        assert device.release.status().health == "down"
    with answering(b" " * (1 << 17) + idle):
        assert device.release.status().health == "down"


def test_the_kernel_reports_where_a_process_listens() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as near,
        socket.create_server(("0.0.0.0", 0)) as wide,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as new,
    ):
        found = set(listening(os.getpid()))
        for sock in (near, wide, new):
            address, port = sock.getsockname()[:2]
            assert (address, port) in found
    assert (address, port) not in set(listening(os.getpid()))
    assert list(listening(0)) == []


def test_a_service_that_listens_only_on_the_network_is_not_queried(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    device.does(OLDER)
    monkeypatch.setattr(module, "listening", lambda process: iter([("192.0.2.1", 443)]))
    assert device.release.status().running is None
    assert device.release.fault() == "", "only its process can be checked"
    with pytest.raises(UserError, match="may be live"):
        device.release.require_no_live_session()
