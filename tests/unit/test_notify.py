"""Words to the service manager, over a real socket where its package is installed; silence elsewhere."""

from __future__ import annotations

import importlib.util
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.notify import Notifier

INSTALLED = importlib.util.find_spec("systemd") is not None


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket on which a service manager listens."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listening


def received(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def say_everything() -> None:
    notifier = Notifier()
    notifier.ready("serving http://127.0.0.1:8080")
    notifier.alive()
    notifier.stopping()


def test_ready_alive_stopping(manager: socket.socket) -> None:
    say_everything()
    expected = ["READY=1\nSTATUS=serving http://127.0.0.1:8080", "WATCHDOG=1", "STOPPING=1"]
    assert received(manager) == (expected if INSTALLED else [])


def test_silent_without_the_package(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setitem(sys.modules, "systemd.daemon", None)
    say_everything()
    assert received(manager) == []


@pytest.mark.parametrize("address", ["", "/nowhere/at/all"])
def test_silent_without_a_manager(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    say_everything()
