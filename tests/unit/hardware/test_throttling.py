"""Heat and too little power, as a board's files tell them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from appliance.hardware.throttling import EVERY_S, Strain


class Board:
    """The files of a board under a folder, and the time."""

    def __init__(self, sys: Path) -> None:
        self._sys, self._now = sys, 0.0
        self.strain = Strain(sys)

    def write(self, name: str, text: str) -> None:
        path = self._sys / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def firmware(self, value: str) -> None:
        self.write("bus/platform/drivers/raspberrypi-firmware/soc:firmware/get_throttled", f"{value}\n")

    def cooled(self, kind: str, state: int) -> None:
        self.write("class/thermal/cooling_device0/type", f"{kind}\n")
        self.write("class/thermal/cooling_device0/cur_state", f"{state}\n")

    def asked(self, times: int = 1) -> str:
        for _ in range(times):
            self._now += EVERY_S
            self.strain.look(self._now)
        return self.strain.reason


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
def test_what_a_raspberry_pi_says(here: Board, value: str, words: str) -> None:
    here.firmware(value)
    found = here.asked(2)
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
def test_what_cools_a_board(here: Board, kind: str, state: int, hot: bool) -> None:
    here.cooled(kind, state)
    assert bool(here.asked(2)) == hot


def test_a_board_that_says_nothing_is_well(tmp_path: Path) -> None:
    assert Board(tmp_path).asked(5) == ""


def test_it_does_not_flap(here: Board, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    here.firmware("4")
    assert here.asked() == "", "once is not yet"
    here.firmware("0")
    assert here.asked() == ""
    here.firmware("4")
    assert here.asked(2)
    for _ in range(4):
        here.firmware("0")
        assert here.asked(5), "not over yet"
        here.firmware("4")
        assert here.asked()
    here.firmware("0")
    assert here.asked(6) == ""
    assert [record.message for record in caplog.records] == [
        "the board works slower: too hot (83 °C); give it air or a fan",
        "the board is well again",
    ]


def test_it_is_asked_no_more_often_than_every_few_seconds(here: Board) -> None:
    here.firmware("4")
    for tenth in range(30):
        assert here.strain.look(tenth / 10) == ""
    assert here.strain.look(EVERY_S + 0.1)


def test_the_reason_follows_what_strains_it(here: Board) -> None:
    here.firmware("4")
    assert "hot" in here.asked(2)
    here.firmware("5")
    assert "power" in here.asked()


def test_without_a_descriptor_the_board_is_asked_again_later(
    here: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.firmware("1")
    assert here.asked(2)

    def none_left(path: Path, pattern: str) -> object:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", none_left)
        assert here.asked() == "too little power"
    here.firmware("0")
    assert here.asked(6) == ""
