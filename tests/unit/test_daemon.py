"""The end of the daemon, where a process of its own could not be brought to misbehave."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from appliance import config, layers
from appliance.config import load
from appliance.daemon import Daemon
from appliance.layers import Request


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")
    settings = ["camera.backend=demo", "web.port=0"]
    return Daemon(load(Request(settings=settings, data_dir=tmp_path), {}), threading.Event())


def test_a_listener_that_does_not_end_is_named(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released, stuck = threading.Event(), threading.Event()

    def serve() -> None:
        stuck.set()
        released.wait(30)

    monkeypatch.setattr(daemon._appliance.servers[0], "serve", serve)

    def announce(url: str) -> None:
        assert stuck.wait(10)
        daemon._stop.set()

    with caplog.at_level(logging.ERROR, "appliance.daemon"):
        code = daemon.run(announce)
    released.set()
    assert code == 1
    assert [record.getMessage() for record in caplog.records] == ["http did not end in time"]


def test_the_lamps_are_tested_while_nobody_could_open_the_camera(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance, seen = daemon._appliance, []

    def test(pause: object) -> None:
        assert pause == daemon._stop.wait, "a stop cuts it short"
        seen.extend(worker._thread.ident for worker in (*appliance.producers, *appliance.consumers))

    monkeypatch.setattr(appliance.lamps, "test", test)
    assert daemon.run(lambda url: daemon._stop.set()) == 0
    assert seen == [None] * 5, "no worker has begun"
