"""The button: a short press starts or stops; a hold withdraws consent, or while idle switches the device off.

A hold that begins at power-up only resets a forgotten password. A hold takes effect when its time is reached,
not on release. A short press while idle means "I have read the printed notice number N", with the number from
the configuration. If that number is missing or out of date, the button does not start a session. It can
always stop one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from appliance.consent.session import IDLE, Session
from appliance.errors import ApplianceError, ConfigError
from appliance.hardware.gpio import load_gpiozero, make_pin_factory
from appliance.hardware.jetson_gpio import JetsonButton

log = logging.getLogger("appliance.button")

WHO = "button"

HOLD_S = 3.0
"""A hold of this many seconds withdraws consent from a running session."""

OFF_S = 8.0
"""A hold of this many seconds, begun while idle, switches the device off."""

RESET_S = 15.0
"""A hold of this many seconds, begun at power-up, resets the password."""

_BOUNCE_S = 0.05


class ButtonActions:
    """Decides what a press does, by its length and by the state when it began. Thread-safe."""

    def __init__(
        self,
        session: Session,
        *,
        printed_notice: str,
        people: int,
        reset_access: Callable[[], None],
        power_off: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`people`: how many people agree with one press. Long holds call `reset_access` and `power_off`."""
        self._session, self._printed, self._people = session, printed_notice, people
        self._reset_access, self._power_off, self._clock = reset_access, power_off, clock
        self._lock = threading.Lock()
        self._down: float | None = None
        self._at_power_up = self._from_idle = self._done = False

    def pressed(self, *, at_power_up: bool = False) -> None:
        """The button went down; `at_power_up`: it was already down when the appliance started."""
        with self._lock:
            self._down, self._at_power_up, self._done = self._clock(), at_power_up, False
            self._from_idle = self._session.state == IDLE

    def held(self) -> None:
        """A hold time has passed: if the button is still down, act once."""
        with self._lock:
            if self._down is None or self._done:
                return
            seconds = self._clock() - self._down + _BOUNCE_S  # clocks of two threads differ a little
            limit = RESET_S if self._at_power_up else OFF_S if self._from_idle else HOLD_S
            if seconds < limit:
                return
            self._done = True
            idle = self._session.state == IDLE
            if self._at_power_up:
                self._try("reset the password", self._reset_access)
            elif self._from_idle and idle:
                self._try("switch off", self._switch_off)
            elif not self._from_idle and not idle:
                self._try("withdraw", self._withdraw)

    def released(self) -> None:
        """The button went up: a short press starts or stops; a hold has already taken effect."""
        with self._lock:
            if self._down is None:
                return
            long = self._clock() - self._down >= HOLD_S
            self._down = None
            if not (self._done or self._at_power_up or long):
                begins = self._from_idle and self._session.state == IDLE
                self._try("start" if begins else "stop", self._start if begins else self._stop)

    def lost(self) -> None:
        """The pin became unreadable: forget this press."""
        with self._lock:
            self._down = None

    def _stop(self) -> None:
        self._session.stop(WHO)

    def _start(self) -> None:
        if self._printed:
            self._session.start(self._printed, WHO, self._people)
        else:
            log.warning("the button cannot start a session: session.printed_notice is not set")

    def _switch_off(self) -> None:
        log.warning("held for %g s: switching the device off", OFF_S)
        self._power_off()

    def _withdraw(self) -> None:
        if self._session.id is None:
            self._session.stop(WHO)  # no one has agreed yet: end the preview
        else:
            self._session.withdraw(WHO)

    @staticmethod
    def _try(what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except ApplianceError as error:
            log.warning("the button could not %s: %s", what, error)


class Button:
    """A button on a pin, between the pin and ground."""

    def __init__(self, pin: int, factory: str, actions: ButtonActions) -> None:
        """Claim the pin; raises `ConfigError` when it is unavailable."""
        self._button: Any = JetsonButton(pin) if factory == "jetson" else _claim_gpiozero_button(pin, factory)
        self._actions = actions
        self._timers: list[threading.Timer] = []
        self._button.when_pressed = self._pressed
        self._button.when_released = self._released
        if isinstance(self._button, JetsonButton):
            self._button.when_lost = self._lost
        if self._button.is_pressed:  # gpiozero saw no edge, so it does not call `when_pressed`
            actions.pressed(at_power_up=True)
            self._check_after(RESET_S)

    def close(self) -> None:
        """Release the pin. May be called twice."""
        self._cancel_timers()
        self._button.close()

    def _pressed(self) -> None:
        self._actions.pressed()
        self._check_after(HOLD_S, OFF_S)

    def _released(self) -> None:
        self._cancel_timers()
        self._actions.released()

    def _lost(self) -> None:
        self._cancel_timers()
        self._actions.lost()

    def _check_after(self, *seconds: float) -> None:
        self._cancel_timers()
        self._timers = [threading.Timer(each, self._actions.held) for each in seconds]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()


def _claim_gpiozero_button(pin: int, factory: str) -> Any:
    gpiozero = load_gpiozero("session.button_pin", str(pin))
    try:
        return gpiozero.Button(
            pin,
            bounce_time=None if factory == "mock" else _BOUNCE_S,
            pin_factory=make_pin_factory(factory),
        )
    except Exception as error:  # libraries raise anything; lgpio's own error is a plain Exception
        raise ConfigError(
            f"cannot use the button: {type(error).__name__}: {error}; check the pin and "
            "session.button_factory",
            key="session.button_pin",
            value=pin,
        ) from error
