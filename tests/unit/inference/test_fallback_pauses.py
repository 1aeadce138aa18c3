"""A stick that passes every probe and fails in use is left alone longer each time."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from appliance.inference import fallback
from appliance.inference.fallback import CircuitBreaker

EVERY_S = 0.05


def new(marker: Path, probe: str = "true") -> CircuitBreaker:
    return CircuitBreaker("coral", marker, None, probe=[probe], pause_s=EVERY_S)


def wait_until_back(stick: CircuitBreaker) -> None:
    deadline = time.monotonic() + 10
    while not stick.allow():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_each_failure_after_a_return_doubles_the_pause(tmp_path: Path) -> None:
    stick = new(tmp_path / "marker")
    pauses = []
    for _ in range(4):
        stick.mark_failed("it went away")
        pauses.append(stick.pause_s / EVERY_S)
        wait_until_back(stick)
    assert pauses == [1, 2, 4, 8]


def test_a_failure_reported_twice_counts_once(tmp_path: Path) -> None:
    stick = new(tmp_path / "marker")
    stick.mark_failed("it went away")
    stick.mark_failed("it is still away")
    assert stick.pause_s == EVERY_S


def test_the_pause_survives_a_restart(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    for number in range(3):  # each life ends in a call that hangs
        stick = new(marker)
        assert bool(stick.fault) == (number > 0)
        wait_until_back(stick)
        with stick.guard():
            stick._calling_since = time.monotonic() - 2 * fallback.CALL_S
            stick.mark_hung()
    assert new(marker).pause_s == 4 * EVERY_S


def test_the_pause_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback, "_LONGEST_PAUSE_S", 3 * EVERY_S)
    stick = new(tmp_path / "marker")
    for _ in range(4):
        stick.mark_failed("it went away")
        wait_until_back(stick)
    assert stick.pause_s == 3 * EVERY_S


def test_after_working_long_enough_past_failures_no_longer_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fallback, "_TRUSTED_S", 0.0)
    marker = tmp_path / "marker"
    stick = new(marker)
    for _ in range(3):
        stick.mark_failed("it went away")
        wait_until_back(stick)
        assert stick.allow()
        assert stick.pause_s == EVERY_S and not marker.exists()


def test_successful_opening_keeps_the_count_of_failures(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    stick = new(marker)
    with stick.guard_opening():
        assert "opening it hung" in marker.read_text()
    assert not marker.exists()
    stick.mark_failed("it went away")
    wait_until_back(stick)
    with stick.guard_opening():
        assert new(marker).pause_s == 2 * EVERY_S
    assert new(marker).fault == "" and new(marker).pause_s == EVERY_S


def test_a_probe_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stick, refused = new(tmp_path / "marker"), []

    def none_left(*words: object, **more: object) -> None:
        refused.append(words)
        raise OSError(24, "Too many open files")

    stick.mark_failed("it went away")
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", none_left)
        deadline = time.monotonic() + 10
        while not refused:
            assert not stick.allow() and time.monotonic() < deadline
            time.sleep(0.01)
    wait_until_back(stick)
