"""The button: a short press starts or stops; held, it withdraws, or from idle switches the device off.

Held from power-up on it resets a forgotten access, and nothing else. What a hold does happens when its time
is reached, not when the button is let go. A short press while idle means "I have read the printed notice
number N", whose number stands in the configuration; without one, or with an old one, the button starts
nothing. It always stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from appliance.consent.session import Session
from appliance.consent.state import IDLE
from appliance.errors import ApplianceError, ConfigError
from appliance.hardware.gpio import load_gpiozero, make_pin_factory
from appliance.hardware.jetson_gpio import JetsonButton

log = logging.getLogger("appliance.button")

WHO = "button"

HOLD_S = 3.0
"""Held so long while a session goes on, the button withdraws."""

OFF_S = 8.0
"""Held so long from idle on, it switches the device off."""

RESET_S = 15.0
"""Held so long from power-up on, it resets the access."""

_BOUNCE_S = 0.05


class Pressed:
    """What the button means, by how long it is held and what went on when it went down. For any thread."""

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
        """`people`: how many agree with a press; what is held long enough calls one of the two actions."""
        self._session, self._printed, self._people = session, printed_notice, people
        self._reset_access, self._power_off, self._clock = reset_access, power_off, clock
        self._lock = threading.Lock()
        self._down: float | None = None
        self._at_power_up = self._from_idle = self._done = False

    def pressed(self, *, at_power_up: bool = False) -> None:
        """The button went down; `at_power_up`: it was down already when the appliance started."""
        with self._lock:
            self._down, self._at_power_up, self._done = self._clock(), at_power_up, False
            self._from_idle = self._session.state == IDLE

    def held(self) -> None:
        """A time to look at is reached: if the button is still down, what is due is done, once."""
        with self._lock:
            if self._down is None or self._done:
                return
            seconds = self._clock() - self._down + _BOUNCE_S  # clocks of two threads are never quite the same
            limit = RESET_S if self._at_power_up else OFF_S if self._from_idle else HOLD_S
            if seconds < limit:
                return
            self._done = True
            idle = self._session.state == IDLE
            if self._at_power_up:
                self._try("reset the access", self._reset_access)
            elif self._from_idle and idle:
                self._try("switch off", self._switch_off)
            elif not self._from_idle and not idle:
                self._try("withdraw", self._withdraw)

    def released(self) -> None:
        """It went up: a short press starts or stops; a long one has done its work already."""
        with self._lock:
            if self._down is None:
                return
            long = self._clock() - self._down >= HOLD_S
            self._down = None
            if not (self._done or self._at_power_up or long):
                begins = self._from_idle and self._session.state == IDLE
                self._try("start" if begins else "stop", self._start if begins else self._stop)

    def lost(self) -> None:
        """Nobody knows any more whether it is down: nothing comes of this press."""
        with self._lock:
            self._down = None

    def _stop(self) -> None:
        self._session.stop(WHO)

    def _start(self) -> None:
        if self._printed:
            self._session.start(self._printed, WHO, self._people)
        else:
            log.warning("the button starts nothing: session.printed_notice names no printed notice")

    def _switch_off(self) -> None:
        log.warning("held for %g s: switching the device off", OFF_S)
        self._power_off()

    def _withdraw(self) -> None:
        if self._session.id is None:
            self._session.stop(WHO)  # nobody has agreed yet: aiming ends
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

    def __init__(self, pin: int, factory: str, presses: Pressed) -> None:
        """Claims the pin; raises `ConfigError` when it cannot be had."""
        self._button: Any = JetsonButton(pin) if factory == "jetson" else _on_gpiozero(pin, factory)
        self._presses = presses
        self._timers: list[threading.Timer] = []
        self._button.when_pressed = self._pressed
        self._button.when_released = self._released
        if isinstance(self._button, JetsonButton):
            self._button.when_lost = self._lost
        if self._button.is_pressed:  # gpiozero saw no edge, so it calls nobody
            presses.pressed(at_power_up=True)
            self._look_after(RESET_S)

    def close(self) -> None:
        """Give the pin back. May be called twice."""
        self._forget()
        self._button.close()

    def _pressed(self) -> None:
        self._presses.pressed()
        self._look_after(HOLD_S, OFF_S)

    def _released(self) -> None:
        self._forget()
        self._presses.released()

    def _lost(self) -> None:
        self._forget()
        self._presses.lost()

    def _look_after(self, *seconds: float) -> None:
        self._forget()
        self._timers = [threading.Timer(each, self._presses.held) for each in seconds]
        for timer in self._timers:
            timer.daemon = True
            timer.start()

    def _forget(self) -> None:
        for timer in self._timers:
            timer.cancel()


def _on_gpiozero(pin: int, factory: str) -> Any:
    gpiozero = load_gpiozero("session.button_pin", str(pin))
    try:
        return gpiozero.Button(
            pin,
            bounce_time=None if factory == "mock" else _BOUNCE_S,
            pin_factory=make_pin_factory(factory),
        )
    except Exception as error:  # whatever the vendors' code raises: lgpio's is no more than that
        raise ConfigError(
            f"the button cannot be had: {type(error).__name__}: {error}; check the pin and "
            "session.button_factory",
            key="session.button_pin",
            value=pin,
        ) from error
