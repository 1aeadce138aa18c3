"""The button: what short and long presses do, on gpiozero's mock pins and a stand-in for Jetson.GPIO."""

from __future__ import annotations

import importlib
import sys
import threading
import time
from abc import ABC, abstractmethod
from typing import Any

import pytest
from gpiozero.pins import mock

from appliance.composition.button import make_button
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_config
from appliance.errors import ConfigError, PowerError
from appliance.hardware import button, gpio
from appliance.hardware.button import HOLD_S, OFF_S, RESET_S, Button, ButtonActions
from appliance.hardware.jetson_gpio import JetsonButton
from tests.fakes.consent import MemoryRecords, make_session
from tests.fakes.parts import WITHIN_S
from tests.machine import ROOT


class Rig:
    """Presses with a clock that the test controls."""

    def __init__(self, printed: str = "3", people: int = 1) -> None:
        self.now = 100.0
        self.resets = self.offs = 0
        self.session = make_session("3", records=MemoryRecords())
        self.pressed = ButtonActions(
            self.session,
            printed_notice=printed,
            people=people,
            reset_access=self._reset,
            power_off=self._off,
            clock=lambda: self.now,
        )

    def _reset(self) -> None:
        self.resets += 1

    def _off(self) -> None:
        self.offs += 1

    def press(self, seconds: float) -> None:
        self.pressed.pressed()
        self._hold(seconds)

    def press_at_power_up(self, seconds: float) -> None:
        self.pressed.pressed(at_power_up=True)
        self._hold(seconds)

    def hold_until(self, since: float, seconds: float) -> None:
        """Hold the button down and check it, as the timers do, for this long."""
        for at in (HOLD_S, OFF_S, RESET_S):
            if self.now - since < at <= seconds:
                self.now = since + at
                self.pressed.held()
        self.now = since + seconds

    def _hold(self, seconds: float) -> None:
        self.hold_until(self.now, seconds)
        self.pressed.released()


def test_a_short_press_confirms_the_printed_notice() -> None:
    rig = Rig(people=2)
    rig.press(0.2)
    assert rig.session.state == "live"
    agreed = rig.session.snapshot.consent
    assert agreed is not None and agreed.people == 2
    rig.press(0.2)
    assert rig.session.state == "idle"


def test_a_short_press_during_a_pause_ends_the_session() -> None:
    rig = Rig()
    rig.press(0.2)
    rig.session.pause("operator")
    rig.press(0.2)
    assert rig.session.state == "idle"


@pytest.mark.parametrize("printed", ["", "2"])
def test_without_the_current_printed_notice_it_does_not_start(
    printed: str, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig(printed)
    rig.press(0.2)
    assert rig.session.state == "idle"
    assert "notice" in caplog.text
    rig.session.start("3", "operator")
    rig.press(0.2)
    assert rig.session.state == "idle", "it can always stop"


def test_a_hold_withdraws_as_soon_as_its_time_is_reached() -> None:
    rig = Rig()
    rig.press(0.2)
    rig.session.start_recording("", "", "operator")
    id = rig.session.id
    rig.pressed.pressed()
    rig.now += HOLD_S
    rig.pressed.held()
    assert rig.session.state == "idle"
    records = rig.session._records
    assert isinstance(records, MemoryRecords) and records.erased == [id]
    rig.now += 1
    rig.pressed.released()
    assert rig.session.state == "idle", "releasing it starts nothing"


@pytest.mark.parametrize(("seconds", "offs"), [(HOLD_S, 0), (OFF_S - 0.1, 0), (OFF_S, 1), (60.0, 1)])
def test_a_hold_from_idle_switches_the_device_off_once(seconds: float, offs: int) -> None:
    rig = Rig()
    rig.press(seconds)
    assert (rig.session.state, rig.offs, rig.resets) == ("idle", offs, 0)


def test_it_switches_off_when_the_time_is_reached_and_not_on_release() -> None:
    rig = Rig()
    rig.pressed.pressed()
    rig.hold_until(rig.now, OFF_S)
    assert rig.offs == 1
    rig.pressed.released()
    assert (rig.offs, rig.session.state) == (1, "idle")


@pytest.mark.parametrize("state", ["aiming", "live", "recording", "paused"])
def test_a_hold_during_a_session_ends_it_and_does_nothing_more(state: str) -> None:
    rig = Rig()
    if state == "aiming":
        rig.session.start_preview("operator")
    else:
        rig.session.start("3", "operator")
    if state == "recording":
        rig.session.start_recording("", "", "operator")
    if state == "paused":
        rig.session.pause("operator")
    rig.press(60.0)
    assert (rig.session.state, rig.offs, rig.resets) == ("idle", 0, 0)


def test_a_session_that_begins_during_a_hold_is_neither_withdrawn_nor_switched_off() -> None:
    rig = Rig()
    rig.pressed.pressed()
    down = rig.now
    rig.hold_until(down, 5.0)
    rig.session.start("3", "operator")
    rig.hold_until(down, 60.0)
    rig.pressed.released()
    assert (rig.session.state, rig.offs) == ("live", 0)


def test_a_session_that_ends_during_a_hold_cancels_the_hold() -> None:
    rig = Rig()
    rig.session.start("3", "operator")
    rig.pressed.pressed()
    down = rig.now
    rig.hold_until(down, 1.0)
    rig.session.stop("operator")
    rig.hold_until(down, 5.0)
    rig.session.start("3", "operator")  # another session, which the hold must not affect
    rig.hold_until(down, 60.0)
    assert (rig.session.state, rig.offs) == ("live", 0)


def test_a_hold_time_just_after_release_does_nothing() -> None:
    rig = Rig()
    rig.press(0.2)
    rig.press(2.99)
    rig.session.start("3", "operator")
    rig.now += 0.02
    rig.pressed.held()
    rig.now += 60
    rig.pressed.held()
    assert (rig.session.state, rig.offs) == ("live", 0)


def test_a_press_meant_to_stop_does_not_start() -> None:
    rig = Rig()
    rig.session.start("3", "operator")
    rig.pressed.pressed()
    rig.session.stop("operator")  # by the page, at the same moment
    rig.pressed.released()
    assert rig.session.state == "idle"


def test_a_failed_power_off_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()

    def refused() -> None:
        raise PowerError("logind does not switch the device off: not authorized")

    rig.pressed._power_off = refused
    rig.press(OFF_S)
    assert "the button could not switch off: logind does not" in caplog.text
    rig.press(0.2)
    assert rig.session.state == "live", "the session continues"


def test_a_hold_during_the_preview_ends_it() -> None:
    rig = Rig()
    rig.session.start_preview("operator")
    rig.press(HOLD_S)
    assert rig.session.state == "idle"


@pytest.mark.parametrize(("seconds", "resets"), [(1.0, 0), (14.0, 0), (RESET_S, 1), (60.0, 1)])
def test_a_hold_from_power_up_resets_the_password_and_nothing_else(seconds: float, resets: int) -> None:
    rig = Rig()
    rig.press_at_power_up(seconds)
    assert (rig.session.state, rig.resets, rig.offs) == ("idle", resets, 0)
    rig.press(0.2)
    assert rig.session.state == "live", "the next press is a normal one"


# --- on pins ---


class Pins(ABC):
    """A button on pin 16, through gpiozero or Jetson.GPIO, with the same behaviour."""

    PIN = 16

    def __init__(self, factory: str) -> None:
        self.factory = factory
        self.session = make_session("3", records=MemoryRecords())
        self.reset, self.off = threading.Event(), threading.Event()

    def button(self) -> Button:
        pressed = ButtonActions(
            self.session, printed_notice="3", people=1, reset_access=self.reset.set, power_off=self.off.set
        )
        self.made = Button(self.PIN, self.factory, pressed)
        return self.made

    @abstractmethod
    def down(self) -> None:
        """The finger pulls the pin to ground."""

    @abstractmethod
    def up(self) -> None:
        """The finger releases it."""

    @abstractmethod
    def down_before_it_is_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Already held when the appliance starts."""

    def press(self) -> None:
        """Press as briefly as a finger can."""
        self.down()
        self._until_it_is_seen(True)
        self.up()
        self._until_it_is_seen(False)

    def _until_it_is_seen(self, down: bool) -> None:
        deadline = time.monotonic() + WITHIN_S
        while self.made._button.is_pressed != down:
            assert time.monotonic() < deadline
            time.sleep(0.005)

    def reaches(self, state: str) -> bool:
        session = self.session
        with session._changed:
            return session._changed.wait_for(lambda: session.state == state, WITHIN_S)


class GpiozeroPins(Pins):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("mock")
        self._made: Any = mock.MockFactory()
        self._pin = self._made.pin(f"GPIO{self.PIN}")
        monkeypatch.setattr(button, "make_pin_factory", lambda name: self._made)

    def down(self) -> None:
        self._pin.drive_low()

    def up(self) -> None:
        self._pin.drive_high()

    def down_before_it_is_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # gpiozero's mock raises a pin when it is claimed; a real pin stays where the finger holds it.
        monkeypatch.setattr(type(self._pin), "_set_pull", lambda pin, pull: pin.drive_low())


class JetsonPins(Pins):
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__("jetson")
        monkeypatch.syspath_prepend(str(ROOT / "tests/vendor_stubs/jetson"))
        for name in ("Jetson.GPIO", "Jetson"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        self._gpio = importlib.import_module("Jetson.GPIO")
        self._gpio.forget()

    def down(self) -> None:
        self._gpio.outside[self.PIN] = self._gpio.LOW

    def up(self) -> None:
        self._gpio.outside[self.PIN] = self._gpio.HIGH

    def down_before_it_is_claimed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.down()


@pytest.fixture(params=[GpiozeroPins, JetsonPins], ids=["gpiozero", "jetson"])
def pins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pins:
    # Longer than a short press lasts on a busy machine.
    monkeypatch.setattr(button, "HOLD_S", 1.0)
    monkeypatch.setattr(button, "OFF_S", 1.5)
    return request.param(monkeypatch)


def test_a_pin_starts_stops_and_withdraws(pins: Pins) -> None:
    made = pins.button()
    try:
        pins.press()
        assert pins.reaches("live")
        pins.press()
        assert pins.reaches("idle")
        pins.press()
        assert pins.reaches("live")
        pins.down()
        assert pins.reaches("idle"), "held"
        records = pins.session._records
        assert isinstance(records, MemoryRecords)
        pins.session.flush(WITHIN_S)
        assert len(records.erased) == 1
        pins.up()
        assert pins.session.state == "idle"
    finally:
        made.close()
        made.close()


def test_holding_a_pin_switches_the_device_off(pins: Pins) -> None:
    made = pins.button()
    try:
        pins.down()
        assert pins.off.wait(WITHIN_S)
        pins.up()
        assert pins.session.state == "idle"
    finally:
        made.close()


def test_releasing_a_pin_in_time_does_not(pins: Pins) -> None:
    made = pins.button()
    try:
        pins.press()
        assert pins.reaches("live")
        timers = list(made._timers)
        assert len(timers) == 2
        for timer in timers:
            timer.join(WITHIN_S)
            assert not timer.is_alive()
        assert pins.session.state == "live" and not pins.off.is_set()
    finally:
        made.close()


def test_a_pin_down_at_power_up_resets_the_password(pins: Pins, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button, "RESET_S", 0.3)
    pins.down_before_it_is_claimed(monkeypatch)
    made = pins.button()
    try:
        assert pins.reset.wait(WITHIN_S)
        assert pins.session.state == "idle" and not pins.off.is_set()
    finally:
        made.close()


def test_an_unavailable_pin_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button, "make_pin_factory", lambda name: gpio.make_pin_factory("lgpio"))
    with pytest.raises(ConfigError, match=r"session\.button_pin = 5"):
        Button(5, "lgpio", Rig().pressed)


def test_without_jetson_gpio_it_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "Jetson.GPIO", None)
    with pytest.raises(ConfigError, match=r"python3-jetson-gpio, or leave out the button"):
        Button(36, "jetson", Rig().pressed)


def test_a_pin_outside_the_header_is_an_error_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    JetsonPins(monkeypatch)
    with pytest.raises(ConfigError, match=r"cannot use the button: ValueError: Channel 5 is invalid"):
        Button(5, "jetson", Rig().pressed)


def test_a_bouncing_jetson_button_is_one_press(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = JetsonPins(monkeypatch)
    levels, all_read = [1, 0, 1, 0, 1, 0, 0, 1, 0, 0], threading.Event()

    def read(pin: int) -> int:
        if len(levels) > 1:
            return levels.pop(0)
        all_read.set()
        return levels[0]

    monkeypatch.setattr(pins._gpio, "input", read)
    contact, heard = JetsonButton(36), []
    contact.when_pressed = lambda: heard.append("down")
    contact.when_released = lambda: heard.append("up")
    assert all_read.wait(WITHIN_S)
    contact.close()
    assert heard == ["down"]


def test_an_unreadable_jetson_pin_is_logged_once_and_read_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pins = JetsonPins(monkeypatch)
    levels, heard = [1, None, None, None, 1, 0, 0], threading.Event()

    def read(pin: int) -> int:
        level = levels.pop(0) if levels else 0
        if level is None:
            raise OSError("no such line")
        return level

    monkeypatch.setattr(pins._gpio, "input", read)
    contact = JetsonButton(36)
    contact.when_pressed = heard.set
    assert heard.wait(WITHIN_S)
    contact.close()
    assert [record.message for record in caplog.records] == [
        "the button on header pin 36 cannot be read: no such line"
    ]


def test_a_press_whose_pin_becomes_unreadable_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(button, "OFF_S", 2.5)  # not reached before the pin breaks
    monkeypatch.setattr(button, "HOLD_S", 2.0)
    pins, broken, reported = JetsonPins(monkeypatch), threading.Event(), threading.Event()
    real = pins._gpio.input

    def read(pin: int) -> int:
        if broken.is_set():
            reported.set()
            raise OSError("no such line")
        return int(real(pin))

    monkeypatch.setattr(pins._gpio, "input", read)
    made = pins.button()
    try:
        pins.down()
        deadline = time.monotonic() + WITHIN_S
        while not made._timers and time.monotonic() < deadline:
            time.sleep(0.01)
        timers = list(made._timers)
        broken.set()
        assert timers and reported.wait(WITHIN_S)
        for timer in timers:
            timer.join(WITHIN_S)
        assert pins.session.state == "idle" and not pins.off.is_set()
    finally:
        made.close()


def test_a_jetson_button_does_not_take_the_pin_of_a_lamp(monkeypatch: pytest.MonkeyPatch) -> None:
    pins = JetsonPins(monkeypatch)
    settings = {"lamps": {"backend": "jetson"}, "session": {"button_factory": "jetson", "button_pin": 31}}
    for section, values in settings.items():
        for key, value in values.items():
            monkeypatch.setenv(f"INTERVIEW_GRADER__{section.upper()}__{key.upper()}", str(value))
    with pytest.raises(ConfigError, match=r"header pin 31 is already used by lamps\.camera"):
        config = load_config(ConfigOptions())
        make_button(config.session, config.lamps, pins.session, lambda: None)
    assert pins._gpio.claimed == [], "nothing was claimed"
