"""Switching the lamps off after the appliance was killed, and blinking when it is not restarted."""

from __future__ import annotations

import signal
import threading
import time

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPWMPin

from appliance.commands import blink_failed, lamps_off
from appliance.configuration import layers
from appliance.hardware import gpio


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path) -> MockFactory:
    """Pins that stay as they were when their program was killed."""
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(Device, "pin_factory", factory)
    monkeypatch.setattr(gpio, "make_pin_factory", lambda name: factory)
    monkeypatch.setattr("appliance.hardware.gpio_lamps.make_pin_factory", lambda name: factory)
    monkeypatch.setenv("INTERVIEW_GRADER__LAMPS__BACKEND", "gpiozero")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return factory


CAMERA = 27
PINS = 17, CAMERA, 22
"""Running, camera and fault."""

ELSEWHERE = ("WEB__PROT", "80"), ("NOWHERE__KEY", "1"), ("CAMERA__BACKEND", "nothing")
"""Mistakes that keep the appliance from starting but do not concern the lamps."""


@pytest.mark.parametrize("mistake", [None, *ELSEWHERE])
def test_a_lamp_left_on_is_switched_off(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, mistake: tuple[str, str] | None
) -> None:
    """Even if the configuration has become invalid since then."""
    if mistake:
        monkeypatch.setenv(f"INTERVIEW_GRADER__{mistake[0]}", mistake[1])
    camera = pins.pin(CAMERA)
    camera.function = "output"
    camera.state = True
    assert lamps_off.main() == 0
    assert not camera.state


@pytest.mark.parametrize("program", [lamps_off, blink_failed])
def test_a_mistake_about_the_lamps_is_not_reported_twice(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], program
) -> None:
    monkeypatch.setenv("INTERVIEW_GRADER__LAMPS__FUALT", "23")
    assert program.main() == 0
    assert capsys.readouterr().err == ""
    assert pins.pins == {}, "the pins of the lamps are unknown"


def test_a_file_that_cannot_be_read_may_name_other_pins(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    owner = tmp_path / "config.toml"
    owner.write_text("[lamps\n")
    monkeypatch.setattr(layers, "OWNER_FILE", owner)
    monkeypatch.delenv("INTERVIEW_GRADER__LAMPS__BACKEND")
    assert blink_failed.main() == 0
    assert pins.pins == {}


@pytest.mark.slow
def test_it_blinks_until_it_is_stopped(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERVIEW_GRADER__WEB__PROT", "80")
    lines = [pins.pin(number) for number in PINS]
    seen: list[list[bool]] = []
    main = threading.main_thread().ident
    assert main is not None

    def look() -> None:
        deadline = time.monotonic() + 20
        while [fault for _, _, fault in seen].count(True) < 8 and time.monotonic() < deadline:
            lit = [bool(line.state) for line in lines]
            if not seen or seen[-1] != lit:
                seen.append(lit)
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGTERM)

    watcher = threading.Thread(target=look)
    watcher.start()
    assert blink_failed.main() == 0
    watcher.join()
    assert [fault for _, _, fault in seen].count(True) == 8
    assert not any(running or camera for running, camera, _ in seen)
    assert not any(pin.state for pin in pins.pins.values()), "the lamps are off at the next start"
    assert capsys.readouterr().err == ""


def test_without_lamps_it_exits(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("INTERVIEW_GRADER__LAMPS__BACKEND", "none")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert blink_failed.main() == 0


def test_unavailable_pins_are_reported(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERVIEW_GRADER__LAMPS__RED", "22")
    assert blink_failed.main() == 1
    assert "22" in capsys.readouterr().err
