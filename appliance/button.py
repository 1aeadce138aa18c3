"""The button: a short press starts or stops, holding it withdraws; at power-up it resets a forgotten access.

A short press while idle means "I have read the printed notice number N", whose number stands in the
configuration; without one, or with an old one, the button starts nothing. It always stops.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from appliance.errors import ApplianceError, ConfigError
from appliance.gpio import load_gpiozero, make_factory
from appliance.session import Session
from appliance.standing import IDLE

log = logging.getLogger("appliance.button")

WHO = "button"

HOLD_S = 3.0
"""Held so long while a session goes on, the button withdraws."""

RESET_S = 15.0
"""Held so long from power-up on, it resets the access."""

_BOUNCE_S = 0.05


class Pressed:
    """What the button means, by how long it is held and what goes on. Called by one thread at a time."""

    def __init__(
        self,
        session: Session,
        *,
        printed_notice: str,
        people: int,
        reset_access: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`people`: how many agree with a press; `reset_access` is called once `RESET_S` are reached."""
        self._session, self._printed, self._people = session, printed_notice, people
        self._reset_access, self._clock = reset_access, clock
        self._down = 0.0
        self._at_power_up = self._done = False

    def pressed(self) -> None:
        """The button went down."""
        self._down, self._at_power_up, self._done = self._clock(), False, False

    def pressed_at_power_up(self) -> None:
        """The button was down already when the appliance started."""
        self.pressed()
        self._at_power_up = True

    def held(self) -> None:
        """It is still down: withdraw, or reset the access, once it is time."""
        seconds = self._clock() - self._down + _BOUNCE_S  # clocks of two threads are never quite the same
        if self._done:
            return
        if self._at_power_up:
            if seconds >= RESET_S:
                self._done = True
                self._try("reset the access", self._reset_access)
        elif seconds >= HOLD_S and self._session.state != IDLE:
            self._done = True
            self._try("withdraw", self._withdraw)

    def released(self) -> None:
        """It went up: a short press starts or stops; a long one has done its work already."""
        long = self._clock() - self._down >= HOLD_S
        if not (self._done or self._at_power_up or long):
            self._try("stop" if self._session.state != IDLE else "start", self._start_or_stop)

    def _start_or_stop(self) -> None:
        if self._session.state != IDLE:
            self._session.stop(WHO)
        elif not self._printed:
            log.warning("the button starts nothing: session.printed_notice names no printed notice")
        else:
            self._session.start(self._printed, WHO, self._people)

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
    """A button on a GPIO pin, between the pin and ground."""

    def __init__(self, pin: int, factory: str, presses: Pressed) -> None:
        """Claims the pin; raises `ConfigError` when it cannot be had."""
        gpiozero = load_gpiozero("session.button_pin", str(pin))
        try:
            self._button: Any = gpiozero.Button(
                pin,
                bounce_time=None if factory == "mock" else _BOUNCE_S,
                hold_time=HOLD_S,
                pin_factory=make_factory(factory),
            )
        except (gpiozero.GPIOZeroError, ImportError, OSError, RuntimeError) as error:
            raise ConfigError(
                f"the button cannot be had: {type(error).__name__}: {error}; check the pin and "
                "session.button_factory",
                key="session.button_pin",
                value=pin,
            ) from error
        self._presses = presses
        self._button.when_pressed = presses.pressed
        self._button.when_held = presses.held
        self._button.when_released = self._released
        self._reset = threading.Timer(RESET_S, presses.held)
        self._reset.daemon = True
        if self._button.is_pressed:
            # gpiozero saw no edge, so it does not count how long this one is held.
            presses.pressed_at_power_up()
            self._reset.start()

    def close(self) -> None:
        """Give the pin back. May be called twice."""
        self._reset.cancel()
        self._button.close()

    def _released(self) -> None:
        self._reset.cancel()
        self._presses.released()
