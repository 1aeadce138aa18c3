"""A device whose camera is on the network: another device's stream, and senders with a wrong password."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import Daemon, command, running, until
from tests.e2e.daemon.driver_schema import check_state
from tests.fakes.network_cameras import Mjpeg, mjpeg_sender

WITHIN_S = 15.0
BACK_WITHIN_S = 30.0
USER, PASSWORD = "viewer-of-it", "wrong-password-1"

Pair = tuple[Daemon, Daemon]


def watched_address(other: Daemon) -> str:
    return f"http://127.0.0.1:{other.port}/stream.mjpg?overlay=0"


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """A device, and another one that shows the demo clip and is its camera."""
    with (
        running(tmp_path / "other", "--camera", "demo") as other,
        running(tmp_path / "device", "--camera", f"stream:{watched_address(other)}") as device,
    ):
        yield device, other


def test_another_devices_stream_is_read_like_a_camera(pair: Pair) -> None:
    device, other = pair
    # Without consent nothing is even connected.
    assert device.state()["camera"]["state"] == "closed" and other.state()["viewers"] == 0
    assert device.start_session().status == 200
    readings = until(lambda: readings_with_faces(device), WITHIN_S, "readings of a face")
    assert any(face["label"] == "happy" for reading in readings for face in reading["faces"])
    state = device.state()
    check_state(state, backend="stream")
    assert (state["camera"]["state"], state["camera"]["width"]) == ("open", other.state()["camera"]["width"])
    assert other.state()["viewers"] == 1
    assert device.stop_session().status == 200
    until(lambda: other.state()["viewers"] == 0, WITHIN_S, "no viewer of the other device")


def readings_with_faces(device: Daemon) -> list[dict[str, list[dict[str, str]]]]:
    with device.live() as client:
        readings = [json.loads(client.recv(WITHIN_S)) for _ in range(10)]
    return [reading for reading in readings if any(face["readable"] for face in reading["faces"])]


def test_it_is_lost_with_the_reason_and_comes_back(tmp_path: Path) -> None:
    with mjpeg_sender() as sender, running(tmp_path, "--camera", f"stream:{sender.url}") as device:
        device.start_session()
        until(lambda: device.state()["camera"]["state"] == "open", WITHIN_S, "open")
        sender.stop()
        until(lambda: device.state()["camera"]["state"] == "lost", WITHIN_S, "lost")
        until(
            lambda: "refuses connections" in (device.state()["camera"]["reason"] or ""),
            WITHIN_S,
            "the reason",
        )
        sender.start()
        until(lambda: device.state()["camera"]["state"] == "open", BACK_WITHIN_S, "open again")
        assert len(device.log_lines("camera lost")) == len(device.log_lines("the camera is back")) == 1


@pytest.mark.parametrize("kind", ["basic", "digest"])
def test_no_trace_of_a_wrong_password(kind: str, tmp_path: Path) -> None:
    login = tmp_path / "login"
    login.write_text(f"{USER}:{PASSWORD}\n")
    login.chmod(0o600)
    folder = tmp_path / "device"
    with mjpeg_sender(Mjpeg(login=(kind, USER, "right"))) as sender:
        arguments = ("--set", f"camera.credentials={login}", "--set", "camera.backend=stream")
        arguments = (*arguments, "--set", f"camera.url={sender.url}", "--debug")
        with running(folder, *arguments) as device:
            device.start_session()
            until(lambda: device.state()["camera"]["state"] == "lost", WITHIN_S, "lost")
            assert "refuses this user name and password" in device.state()["camera"]["reason"]
            shown = [
                device.request(path).text
                for path in ("/", "/api/state", "/metrics", "/healthz", "/about", "/api/openapi.json")
            ]
            shown += [device.log, device.out]
            state, requests = folder / "state", len(sender.requests)
            for name in ("status", "config", "check"):
                options = () if name == "status" else (*arguments[:-1],)
                done = command(name, "--data-dir", state, *options)
                shown += [done.stdout, done.stderr]
            assert len(sender.requests) == requests, "no command connects"
        files = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    for secret in (USER, PASSWORD):
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in data for data in files)


def test_another_device_with_tls_and_a_token(tmp_path: Path) -> None:
    login = ("--camera", "demo", "--set", "access.loopback=login")
    with running(tmp_path / "other", *login) as other:
        state = tmp_path / "other" / "state"
        token = command("token", "create", "camera", "--role", "viewer", "--data-dir", state).stdout.strip()
        credentials = tmp_path / "login"
        credentials.write_text(f"any:{token}\n")
        credentials.chmod(0o600)
        settings = {
            "camera.backend": "stream",
            "camera.url": f"https://localhost:{other.port}/stream.mjpg?overlay=0",
            "camera.credentials": credentials,
            "camera.ca_file": state / "tls-certificate.pem",
        }
        arguments = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        with running(tmp_path / "device", *arguments) as device:
            device.start_session()
            until(lambda: readings_with_faces(device), WITHIN_S, "readings of a face")
            assert token not in device.log


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_device_stops_in_time_while_its_camera_does_not_answer(scheme: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/live"
        with running(tmp_path, "--camera", f"stream:{address}") as device:  # expects exit 0 within 5 s
            device.start_session()
            silent.settimeout(WITHIN_S)
            connection, _ = silent.accept()
            with connection:
                assert device.stop() == 0
