"""`interview-grader status` with the real daemon: as its user, as another user, and without a daemon."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import __version__
from appliance.auth.certificate import DeviceCertificate
from appliance.web.api.device_status import DeviceStatus
from tests.e2e.daemon.driver import Daemon, clean_environment, command, free_port, running, until
from tests.fakes.far import Client
from tests.machine import ROOT

NOBODY = 65534
PASSWORD = "a long enough password"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon as on an installed device: on the network, with a login on loopback too."""
    with running(
        tmp_path, "--camera", "demo", "--host", "0.0.0.0", "--set", "access.loopback=login"
    ) as daemon:
        yield daemon


def status(state: Path, *more: str) -> tuple[int, dict[str, Any]]:
    """Exit code and answer; the answer must match the model."""
    done = command("status", "--json", "--data-dir", state, *more)
    assert done.stdout.count("\n") == 1 and done.stderr == "", done
    DeviceStatus.model_validate_json(done.stdout)
    return done.returncode, json.loads(done.stdout)


def status_of_nobody(daemon: Daemon, *more: str) -> tuple[int, dict[str, Any]]:
    """The same as another user, who can read the device's configuration."""
    words = ("status", "--json", "--data-dir", str(daemon.folder / "state"), f"--port={daemon.port}", *more)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", *words],
        cwd=ROOT,
        env=clean_environment(),
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == "", done
    return done.returncode, json.loads(done.stdout)


def test_the_owner_of_the_state_gets_everything(device: Daemon) -> None:
    state = device.folder / "state"
    code, found = status(state)
    assert code == 0
    assert (found["running"], found["health"]) == (True, {"status": "ok", "reason": None})
    assert (found["state"], found["live"]) == ("live", False), "the demo clip shows no one in the room"
    assert found["storage"] == {"state": "ok", "reason": None}
    assert re.fullmatch(rf"https://[^/:]+\.local:{device.port}/", found["address"])
    assert (found["version"], found["lamps"]) == (__version__, False)
    assert found["certificate_sha256"] == DeviceCertificate(state).fingerprint()
    logged = re.findall(r"FIRST CODE (\S+):", device.log)
    assert [found["first_code"]] == logged

    client = Client(device.port, state)
    fields = {"code": found["first_code"], "password": PASSWORD, "repeat": PASSWORD}
    assert client.submit("/login", fields).status == 303
    code, found = status(state)
    assert (code, found["first_code"]) == (0, None), "a password is set now"

    printed = command("status", "--data-dir", state)
    assert printed.returncode == 0
    assert f"address      {found['address']}" in printed.stdout.splitlines()
    assert "first code" not in printed.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_what_is_public(device: Daemon) -> None:
    code, found = status_of_nobody(device, "--set", "access.loopback=login")
    assert code == 0
    assert (found["running"], found["health"]["status"]) == (True, "ok")
    assert found["certificate_sha256"] == DeviceCertificate(device.folder / "state").fingerprint()
    assert found["address"] == f"https://127.0.0.1:{device.port}/"
    secret = ("first_code", "state", "live", "storage", "version", "lamps")
    assert [found[key] for key in secret] == [None] * len(secret)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_no_first_code_if_loopback_is_operator(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo", "--host", "0.0.0.0") as daemon:
        assert status_of_nobody(daemon, "--host", "0.0.0.0")[1]["first_code"] is None
        assert status(tmp_path / "state")[1]["first_code"] in daemon.log


def test_people_in_a_session_are_live(tmp_path: Path) -> None:
    clip = ("--camera", "demo", "--set", "camera.needs_agreement=true")
    with running(tmp_path, *clip) as daemon:
        code, found = status(tmp_path / "state")
        assert (code, found["state"], found["live"]) == (0, "idle", False)
        assert found["address"] == f"http://127.0.0.1:{daemon.port}/"
        assert (found["certificate_sha256"], found["first_code"]) == (None, None), "no TLS, no login"
        assert daemon.start_session().status == 200
        until(lambda: status(tmp_path / "state")[0] == 0, 15.0, "a picture")
        found = status(tmp_path / "state")[1]
        assert (found["state"], found["live"]) == ("live", True)


def test_a_daemon_that_has_ended_is_down(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo"):
        pass
    code, found = status(tmp_path / "state")
    assert code == 1
    assert (found["running"], found["health"]["status"]) == (False, "down")
    assert found["health"]["reason"].startswith("nothing answers at http://127.0.0.1:")
    assert found["state"] is None and found["first_code"] is None
    printed = command("status", "--data-dir", tmp_path / "state")
    assert printed.returncode == 1 and printed.stdout.startswith("health       down: nothing answers at")


def test_a_daemon_that_was_never_started_is_down(tmp_path: Path) -> None:
    code, found = status(tmp_path, "--port", str(free_port()))
    assert (code, found["running"], found["health"]["status"]) == (1, False, "down")


def test_a_suspended_daemon_does_not_answer(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo") as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            code, found = status(tmp_path / "state")
        finally:
            daemon.process.send_signal(signal.SIGCONT)
    assert (code, found["running"], found["health"]["status"]) == (1, False, "down")
    assert "does not answer" in found["health"]["reason"]


def test_no_address_outside_this_device_is_contacted(tmp_path: Path) -> None:
    for url in ("https://192.0.2.1:443/", "http://evil.example:80/", "http://127.1:80/"):
        (tmp_path / "local-url").write_text(url)
        code, found = status(tmp_path)
        assert (code, found["running"], found["health"]["status"]) == (1, None, "unknown"), url


def test_a_wrong_setting_is_the_users_mistake(tmp_path: Path) -> None:
    done = command("status", "--json", "--data-dir", tmp_path, "--set", "web.prot=80")
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and done.stdout == ""
