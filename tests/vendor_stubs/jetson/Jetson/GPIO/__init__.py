"""A stand-in for Jetson.GPIO 2.1.13 with its calls, constants and refusals; it drives no hardware.

It has the pins of the 40-pin header of a Jetson Orin Nano. A test reads `levels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

LOW, HIGH = 0, 1
OUT, IN = 0, 1
BOARD, BCM = 10, 11

_HEADER = (7, 11, 12, 13, 15, 16, 18, 19, 21, 22, 23, 24, 26, 29, 31, 32, 33, 35, 36, 37, 38, 40)

levels: dict[int, int] = {}
"""The level of each pin that was claimed."""

claimed: list[int] = []
"""Every pin that was claimed, in order."""

outside: dict[int, int] = {}
"""Levels that a test sets on inputs; the others are high."""

_inputs: set[int] = set()
_set: dict[str, int | bool] = {}


def forget() -> None:
    """Reset to the state after import."""
    levels.clear()
    claimed.clear()
    outside.clear()
    _inputs.clear()
    _set.clear()


def setwarnings(state: bool) -> None:
    _set["warnings"] = bool(state)


def setmode(mode: int) -> None:
    if _set.get("mode", mode) != mode:
        raise ValueError("A different mode has already been set!")
    if mode not in (BOARD, BCM):
        raise ValueError("An invalid mode was passed to setmode()!")
    _set["mode"] = mode


def setup(channels: int | Sequence[int], direction: int, initial: int | None = None) -> None:
    for channel in _known(channels):
        if channel in levels:
            raise AssertionError("the real one calls its cleanup here, which closes files of others")
        if direction == IN:
            _inputs.add(channel)
        # An input has the level of the wire: high through its resistor, or the level that a finger sets.
        driven = HIGH if initial is None else initial
        levels[channel] = outside.get(channel, HIGH) if direction == IN else driven
        claimed.append(channel)
        if _set.get("warnings", True):
            warnings.warn("Could not open /dev/mem for pinmux check.", stacklevel=2)


def output(channels: int | Sequence[int], values: int) -> None:
    for channel in _known(channels):
        if channel not in levels or channel in _inputs:
            raise RuntimeError("The GPIO channel has not been set up as an OUTPUT")
        levels[channel] = values


def input(channel: int) -> int:
    (known,) = _known(channel)
    if known not in levels:
        raise RuntimeError("You must setup() the GPIO channel first")
    return outside.get(known, HIGH) if known in _inputs else levels[known]


def cleanup(channel: int | None = None) -> None:
    raise AssertionError("the real one closes the chip's file once for each pin, by then another's")


def _known(channels: int | Sequence[int]) -> list[int]:
    if "mode" not in _set:
        raise RuntimeError("Please set pin numbering mode using GPIO.setmode(GPIO.BOARD)")
    wanted = [channels] if isinstance(channels, int) else list(channels)
    for channel in wanted:
        if channel not in _HEADER:
            raise ValueError(f"Channel {channel} is invalid")
    return wanted
