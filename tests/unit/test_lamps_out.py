"""What puts the lamps out after the appliance was killed."""

from __future__ import annotations

import pytest
from gpiozero import Device
from gpiozero.pins.mock import MockFactory, MockPWMPin

from appliance import gpio, lamps_out


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path) -> MockFactory:
    """Pins that stay as they were when their program was killed."""
    factory = MockFactory(pin_class=MockPWMPin)
    monkeypatch.setattr(Device, "pin_factory", factory)
    monkeypatch.setattr(gpio, "make_factory", lambda name: factory)
    monkeypatch.setattr("appliance.sinks.lamps.make_factory", lambda name: factory)
    monkeypatch.setenv("INTERVIEW_GRADER__LAMPS__BACKEND", "gpiozero")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return factory


def test_a_lamp_that_was_left_lit_goes_out(pins: MockFactory) -> None:
    camera = pins.pin(27)
    camera.function = "output"
    camera.state = True
    assert lamps_out.main() == 0
    assert not camera.state


def test_a_mistake_in_the_settings_is_not_told_twice(
    pins: MockFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERVIEW_GRADER__WEB__PROT", "80")
    assert lamps_out.main() == 0
    assert capsys.readouterr().err == ""
