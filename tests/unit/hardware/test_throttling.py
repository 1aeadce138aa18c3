"""Throttling by heat or too little power, read from the files of a board."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from appliance.hardware.throttling import EVERY_S, ThrottlingMonitor


class Board:
    """The files of a board in a folder, and the time."""

    def __init__(self, sys: Path) -> None:
        self._sys, self._now = sys, 0.0
        self.monitor = ThrottlingMonitor(sys)

    def write(self, name: str, text: str) -> None:
        path = self._sys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def firmware(self, value: str) -> None:
        self.write("bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled", f"{value}\n")

    def cooled(self, kind: str, state: int) -> None:
        self.write("class/thermal/cooling_device0/type", f"{kind}\n")
        self.write("class/thermal/cooling_device0/cur_state", f"{state}\n")

    def checked(self, times: int = 1) -> str:
        for _ in range(times):
            self._now += EVERY_S
            self.monitor.check(self._now)
        return self.monitor.reason


@pytest.fixture
def here(tmp_path: Path) -> Board:
    board = Board(tmp_path)
    board.write("class/thermal/thermal_zone0/temp", "83456\n")
    return board


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", ""),
        ("50000", ""),
        ("50005", "too little power"),
        ("1", "too little power"),
        ("2", "too hot (83 °C)"),
        ("80008", "too hot (83 °C)"),
        ("4", "too hot"),
        ("nonsense", ""),
    ],
)
def test_the_bits_of_a_raspberry_pi(here: Board, value: str, words: str) -> None:
    here.firmware(value)
    found = here.checked(2)
    assert words in found and bool(found) == bool(words)


@pytest.mark.parametrize(
    ("kind", "state", "hot"),
    [
        ("cpufreq-cpu0", 3, True),
        ("thermal-cpufreq-0", 1, True),
        ("cpu-throttle-alert", 1, True),
        ("Processor", 1, True),
        ("cpufreq-cpu0", 0, False),
        ("pwm-fan", 4, False),
        ("hot-surface-alert", 1, False),
    ],
)
def test_cooling_devices_that_slow_a_board(here: Board, kind: str, state: int, hot: bool) -> None:
    here.cooled(kind, state)
    assert bool(here.checked(2)) == hot


def test_a_board_without_these_files_is_not_throttled(tmp_path: Path) -> None:
    assert Board(tmp_path).checked(5) == ""


def test_the_report_does_not_flap(here: Board, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    here.firmware("4")
    assert here.checked() == "", "one reading is not enough"
    here.firmware("0")
    assert here.checked() == ""
    here.firmware("4")
    assert here.checked(2)
    for _ in range(4):
        here.firmware("0")
        assert here.checked(5), "five readings do not end it"
        here.firmware("4")
        assert here.checked()
    here.firmware("0")
    assert here.checked(6) == ""
    assert [record.message for record in caplog.records] == [
        "the board runs slower: too hot (83 °C); improve the cooling",
        "the board runs at full speed again",
    ]


def test_the_board_is_read_every_few_seconds_at_most(here: Board) -> None:
    here.firmware("4")
    for tenth in range(30):
        assert here.monitor.check(tenth / 10) == ""
    assert here.monitor.check(EVERY_S + 0.1)


def test_the_reason_follows_the_cause(here: Board) -> None:
    here.firmware("4")
    assert "hot" in here.checked(2)
    here.firmware("5")
    assert "power" in here.checked()


def test_without_a_descriptor_the_board_is_read_again_later(
    here: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.firmware("1")
    assert here.checked(2)

    def none_left(path: Path, pattern: str) -> object:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", none_left)
        assert here.checked() == "too little power"
    here.firmware("0")
    assert here.checked(6) == ""
