"""NVIDIA's Jetson.GPIO, loaded on demand, and a button on one of its pins.

Written for version 2.1.13 (`setmode`, `setwarnings`, `setup`, `input`); not yet run on a Jetson.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from appliance.errors import BackendMissing, ConfigError

log = logging.getLogger("appliance.button")

_EVERY_S = 0.02
_STEADY = 2
"""This many polls must agree: contacts bounce for some milliseconds."""


def load_jetson_gpio(what: str, key: str, value: str | int) -> Any:
    """Import Jetson.GPIO with header pin numbers; raises `ConfigError`.

    `what`: the part that needs it; `key` and `value`: the setting of that part.
    """
    try:
        gpio = importlib.import_module("Jetson.GPIO")
        gpio.setwarnings(False)  # it warns, for every pin, that it cannot read /dev/mem
        gpio.setmode(gpio.BOARD)
        return gpio
    except ImportError as error:
        raise BackendMissing(
            f"Jetson.GPIO cannot be loaded ({error}); install python3-jetson-gpio, or leave out {what}",
            key=key,
            value=value,
        ) from error
    except Exception as error:  # on another computer, or without permission to use the pins
        raise gpio_error(error, what, key, value) from error


def gpio_error(error: Exception, what: str, key: str, value: str | int) -> ConfigError:
    """An error of the vendor's code as a `ConfigError` in one line."""
    return ConfigError(
        f"cannot use {what}: {type(error).__name__}: {error}; check the pins, that this is a "
        "Jetson, and that the user is in the group gpio",
        key=key,
        value=value,
    )


class JetsonButton:
    """A button between a header pin and ground; needs a pull-up resistor to 3.3 V, as Jetson.GPIO sets none.

    Has the members of gpiozero's button that `Button` uses: `is_pressed`, `when_pressed`, `when_released`,
    `close`; and `when_lost`, called when the pin becomes unreadable while the button is down. It polls fifty
    times a second: the edge detection of Jetson.GPIO runs a thread that cannot be stopped.
    """

    def __init__(self, pin: int) -> None:
        """Claim the pin; raises `ConfigError` when it is unavailable."""
        setting = "session.button_pin"
        self._gpio, self._pin = load_jetson_gpio("the button", setting, pin), pin
        try:
            self._gpio.setup(pin, self._gpio.IN)
            self.is_pressed = self._is_down()
        except Exception as error:  # vendors raise anything
            raise gpio_error(error, "the button", setting, pin) from error
        self.when_pressed: Callable[[], None] = lambda: None
        self.when_released: Callable[[], None] = lambda: None
        self.when_lost: Callable[[], None] = lambda: None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="button", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop polling. The pin is released when the process ends. May be called twice."""
        self._stop.set()
        self._thread.join()

    def _is_down(self) -> bool:
        return bool(self._gpio.input(self._pin) == self._gpio.LOW)

    def _poll(self) -> None:
        other, reported = 0, ""
        while not self._stop.wait(_EVERY_S):
            try:
                down = self._is_down()
            except Exception as error:  # libraries raise anything: log it once and retry
                if str(error) != reported:
                    log.error("the button on header pin %d cannot be read: %s", self._pin, error)
                reported = str(error)
                if self.is_pressed:  # its length is now unknown: the press must have no effect
                    self.is_pressed, other = False, 0
                    self.when_lost()
                continue
            reported = ""
            other = other + 1 if down != self.is_pressed else 0
            if other == _STEADY:
                self.is_pressed, other = not self.is_pressed, 0
                (self.when_pressed if self.is_pressed else self.when_released)()
