"""Messages to the service manager, over a real socket, with and without the package systemd-python."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.system.sd_notify import Notifier


@pytest.fixture(params=["standard library", "systemd-python"], autouse=True)
def sender(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender: both must send the same."""
    if request.param == "systemd-python":
        pytest.importorskip("systemd.daemon", reason="systemd-python is not installed")
    else:
        monkeypatch.setitem(sys.modules, "systemd", None)
        monkeypatch.setitem(sys.modules, "systemd.daemon", None)


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket on which a service manager listens: a file, or a name without one."""
    name = (
        str(tmp_path / "notify") if request.param == "path" else f"@{tmp_path.name}-{tmp_path.stat().st_ino}"
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def received(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def send_everything() -> None:
    notifier = Notifier()
    notifier.ready("serving http://127.0.0.1:8080")
    notifier.alive()
    notifier.stopping()
    notifier.extend(1.5)


def test_every_message_arrives(manager: socket.socket) -> None:
    send_everything()
    assert received(manager) == [
        "READY=1\nSTATUS=serving http://127.0.0.1:8080",
        "WATCHDOG=1",
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=1500000",
    ]


def test_a_status_is_one_line(manager: socket.socket) -> None:
    """Each additional line would be another assignment."""
    Notifier().ready("camera: a\nMAINPID=1\r\nb")
    assert received(manager) == ["READY=1\nSTATUS=camera: a MAINPID=1 b"]


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@not-a-listener", "/" + "a" * 200])
def test_nothing_is_sent_without_a_manager(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    send_everything()
    monkeypatch.delenv("NOTIFY_SOCKET")
    send_everything()
