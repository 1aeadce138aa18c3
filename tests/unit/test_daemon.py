"""How the daemon stops, in cases that a real process could not be made to show."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from appliance.configuration import layers
from appliance.configuration import load as config
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    for module in (layers, config):
        monkeypatch.setattr(module, "BOARD_FILE", tmp_path / "board.toml")
    monkeypatch.setattr(layers, "OWNER_FILE", tmp_path / "etc" / "config.toml")
    settings = ["camera.backend=demo", "web.port=0"]
    return Daemon(load_config(ConfigOptions(settings=settings, data_dir=tmp_path), {}), threading.Event())


def test_a_listener_that_does_not_stop_is_reported(
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
    assert [record.getMessage() for record in caplog.records] == ["http did not stop in time"]


def test_the_lamps_are_tested_before_the_camera_can_open(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    appliance, seen = daemon._appliance, []

    def test(pause: object) -> None:
        assert pause == daemon._stop.wait, "a stop interrupts it"
        seen.extend(worker._thread.ident for worker in (*appliance.producers, *appliance.consumers))

    monkeypatch.setattr(appliance.lamps, "test", test)
    assert daemon.run(lambda url: daemon._stop.set()) == 0
    assert set(seen) == {None}, "no worker has started"


@pytest.mark.parametrize("error", [OSError(24, "Too many files"), MemoryError(), RuntimeError("no thread")])
def test_an_occasional_failed_tick_is_survived(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("appliance.daemon.TICK_S", 0.01)
    ticks = 0

    def look() -> str:
        nonlocal ticks
        ticks += 1
        if ticks == 20:
            daemon._stop.set()
        if ticks % 2:
            raise error
        return ""

    monkeypatch.setattr(daemon._throttling, "check", look)
    assert daemon.run(lambda url: None) == 0
    assert ticks == 20


def test_ticks_that_keep_failing_end_the_process(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    class GaveUp(Exception):
        """Instead of ending the process that runs the tests."""

    def exit_unable() -> None:
        raise GaveUp

    def look() -> str:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("appliance.daemon.TICK_S", 0.01)
    monkeypatch.setattr("appliance.daemon.exit_unable", exit_unable)
    monkeypatch.setattr(daemon._throttling, "check", look)
    with pytest.raises(GaveUp):
        daemon.run(lambda url: None)


def test_a_hung_disk_is_reported_at_the_stop(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answers = threading.Event()
    monkeypatch.setattr("appliance.daemon.DISK_S", 0.1)
    monkeypatch.setattr(daemon._appliance.store, "close", lambda: answers.wait(60))
    with caplog.at_level(logging.ERROR, "appliance.daemon"):
        assert daemon.run(lambda url: daemon._stop.set()) == 1
    answers.set()
    assert ["the last record was not written in time" in each.getMessage() for each in caplog.records] == [
        True
    ]
