"""Lamps and button on gpiozero's own lgpio factory, with a stand-in that is imported instead of lgpio.

gpiozero looks up the board and its chip as on a Raspberry Pi: only the firmware's answers are set here.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gpiozero.pins.local import LocalPiFactory

from appliance.errors import ConfigError, LampError
from appliance.hardware.button import Button, ButtonActions
from appliance.hardware.gpio import make_pin_factory
from appliance.hardware.gpio_lamps import GpioLamps, GpioSettings
from appliance.values import LampState
from tests.fakes.consent import MemoryRecords, make_session
from tests.machine import ROOT

PI_4, PI_5 = 0xC03115, 0xC04170
MODULES = ("lgpio", "gpiozero.pins.lgpio")


@pytest.fixture
def pi(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """Simulates a board of this revision with these chips; `lgpio()` is the stand-in once it is imported."""
    monkeypatch.syspath_prepend(str(ROOT / "tests/vendor_stubs/lgpio"))
    monkeypatch.delenv("LG_WD", raising=False)
    exists = os.path.exists

    def make(revision: int = PI_4, chips: tuple[int, ...] = (0,)) -> Callable[[], Any]:
        monkeypatch.setattr("gpiozero.pins.local.get_pi_revision", lambda: revision)
        there = {f"/dev/gpiochip{chip}" for chip in chips}
        monkeypatch.setattr(
            os.path, "exists", lambda path: path in there if "gpiochip" in str(path) else exists(path)
        )
        return lambda: sys.modules["lgpio"]

    for name in MODULES:
        sys.modules.pop(name, None)
    # gpiozero has one table of pins for all its factories.
    monkeypatch.setattr(LocalPiFactory, "pins", {})
    monkeypatch.setattr(LocalPiFactory, "_reservations", defaultdict(list))
    yield make
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("revision", "chips", "chip"),
    [(PI_4, (0, 1), 0), (PI_5, (0, 1, 2, 3, 4), 4), (PI_5, (0, 10, 11, 12, 13), 0)],
    ids=["Pi 4", "Pi 5 with its first kernels", "Pi 5"],
)
def test_the_lamps_are_on_the_chip_of_the_header(
    pi: Callable[..., Any], revision: int, chips: tuple[int, ...], chip: int
) -> None:
    lgpio = pi(revision, chips)
    lamps = GpioLamps(GpioSettings(factory="lgpio"))
    lamps.camera_on()
    lamps.show(LampState(True, 0, "sad"))
    assert lgpio().opened == [chip]
    assert (lgpio().levels[chip, 27], lgpio().levels[chip, 17], lgpio().levels[chip, 22]) == (1, 1, 0)
    assert lgpio().levels[chip, 21] > lgpio().levels[chip, 16] > 0, "more blue than red"
    lamps.close()
    assert lgpio().levels == {}, "no pin is driven any more"


def test_it_works_in_a_folder_that_is_not_writable(
    pi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pi()
    monkeypatch.chdir("/proc")  # not even root can create a file here
    with pytest.raises(OSError):
        __import__("lgpio")
    make_pin_factory("lgpio").close()
    assert Path.cwd() == Path("/proc")


def test_no_file_is_left_behind(
    pi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pi()
    (tmp_path / "here").mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    make_pin_factory("lgpio").close()
    assert [path.name for path in tmp_path.rglob("*")] in (["here", "temporary"], ["temporary", "here"])


def test_a_folder_set_for_lgpio_is_kept(
    pi: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pi()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LG_WD", str(tmp_path))
    make_pin_factory("lgpio").close()
    assert [path.name for path in tmp_path.iterdir()] == [".lgd-nfy0"]


def test_a_lamp_that_lgpio_fails_to_light(pi: Callable[..., Any]) -> None:
    lgpio = pi()
    lamps = GpioLamps(GpioSettings(factory="lgpio"))
    lgpio().busy.add(27)
    with pytest.raises(LampError, match="the camera lamp cannot be driven: GPIO busy"):
        lamps.camera_on()
    lgpio().busy.clear()
    lamps.close()


def test_a_pin_in_use_by_another_program_is_an_error(pi: Callable[..., Any]) -> None:
    lgpio = pi()
    make_pin_factory("lgpio")
    lgpio().busy.update((5, 22))
    with pytest.raises(ConfigError, match="cannot use the lamps: error: GPIO busy"):
        GpioLamps(GpioSettings(factory="lgpio"))
    session = make_session("3", records=MemoryRecords())
    actions = ButtonActions(
        session, printed_notice="3", people=1, reset_access=pytest.fail, power_off=pytest.fail
    )
    with pytest.raises(ConfigError, match="cannot use the button: error: GPIO busy"):
        Button(5, "lgpio", actions)
