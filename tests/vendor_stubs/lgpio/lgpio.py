"""A stand-in for lgpio 0.2.2 as gpiozero's factory calls it, including its behaviour on import.

It creates a pipe in the working directory, opens it by name, and fails if it cannot create one.
"""

from __future__ import annotations

import os
from collections.abc import Callable

RISING_EDGE, FALLING_EDGE, BOTH_EDGES = 1, 2, 3
SET_PULL_UP, SET_PULL_DOWN, SET_PULL_NONE = 32, 64, 128
_OUT = 2


class error(Exception):  # noqa: N801: its name there
    """A plain Exception."""


levels: dict[tuple[int, int], float] = {}
"""(chip, line) -> level of every output line: 0 or 1, or between them if it is dimmed by PWM."""

busy: set[int] = set()
"""Lines that another program uses."""

opened: list[int] = []
"""The chips that were opened."""

os.mkfifo(".lgd-nfy0")
_pipe = os.open(".lgd-nfy0", os.O_RDWR | os.O_NONBLOCK)


def gpiochip_open(chip: int) -> int:
    opened.append(chip)
    return chip


def gpiochip_close(handle: int) -> None:
    assert handle in opened


def gpio_claim_input(handle: int, gpio: int, flags: int = 0) -> None:
    _refuse_busy(gpio)
    levels.pop((handle, gpio), None)


def gpio_claim_output(handle: int, gpio: int, level: int = 0, flags: int = 0) -> None:
    _refuse_busy(gpio)
    levels[handle, gpio] = level


def gpio_get_mode(handle: int, gpio: int) -> int:
    return _OUT if (handle, gpio) in levels else 0


def gpio_free(handle: int, gpio: int) -> None:
    levels.pop((handle, gpio), None)


def gpio_write(handle: int, gpio: int, level: int) -> None:
    _refuse_busy(gpio)
    assert (handle, gpio) in levels, "not an output"
    levels[handle, gpio] = int(level)


def gpio_read(handle: int, gpio: int) -> int:
    return int(levels.get((handle, gpio), 1))  # an input is pulled up


def gpio_set_debounce_micros(handle: int, gpio: int, micros: int) -> None:
    _refuse_busy(gpio)


def gpio_claim_alert(handle: int, gpio: int, edges: int, flags: int = 0) -> None:
    _refuse_busy(gpio)


def tx_pwm(handle: int, gpio: int, frequency: float, duty: float) -> None:
    levels[handle, gpio] = duty / 100


class callback:  # noqa: N801: its name there
    def __init__(self, handle: int, gpio: int, edge: int, func: Callable[..., None]) -> None:
        self.func = func

    def cancel(self) -> None:
        self.func = lambda *_: None


def _refuse_busy(gpio: int) -> None:
    if gpio in busy:
        raise error("GPIO busy")
