"""Lamps on the header of a Jetson, through NVIDIA's Jetson.GPIO: on or off, no shades.

Written for version 2.1.13 (`setmode`, `setwarnings`, `setup`, `output`); not yet run on a Jetson.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from appliance.colours import colour_of
from appliance.errors import ConfigError
from appliance.hardware.jetson_gpio import gpio_error, load_jetson_gpio
from appliance.hardware.lamps import LampPanel

_LAMPS = "the lamps", "lamps.backend", "jetson"


class JetsonSettings(BaseModel):
    """Settings of `lamps.backend = "jetson"`. Pins are numbers of the 40-pin header; -1 leaves a lamp out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    running: int = Field(
        29, ge=-1, le=40, description="Header pin of the lamp that is lit while the appliance runs."
    )
    camera: int = Field(
        31, ge=1, le=40, description="Header pin of the lamp that is lit while the camera is open."
    )
    fault: int = Field(33, ge=-1, le=40, description="Header pin of the lamp that blinks a fault.")
    red: int = Field(7, ge=-1, le=40, description="Header pin of the RGB lamp's red.")
    green: int = Field(15, ge=-1, le=40, description="Header pin of the RGB lamp's green.")
    blue: int = Field(32, ge=-1, le=40, description="Header pin of the RGB lamp's blue.")


class JetsonLamps(LampPanel):
    """Lamps on the pins of a Jetson."""

    Settings = JetsonSettings

    def __init__(self, settings: JetsonSettings) -> None:
        """Claim the pins, all dark; raises `ConfigError` when one is unavailable."""
        super().__init__()
        pins: dict[str, tuple[int, ...]] = {
            role: (pin,) for role in ("running", "camera", "fault") if (pin := getattr(settings, role)) >= 0
        }
        if min(colour := (settings.red, settings.green, settings.blue)) >= 0:
            pins["colour"] = colour
        _refuse_shared_pins(pins)
        gpio = load_jetson_gpio(*_LAMPS)
        try:
            self._lamps = {role: _Lamp(gpio, numbers) for role, numbers in pins.items()}
        except Exception as error:  # vendors raise anything
            raise gpio_error(error, *_LAMPS) from error

    @staticmethod
    def check(settings: JetsonSettings) -> None:
        """Check that the lamps are available, without claiming a pin; raises `ConfigError`."""
        del settings
        load_jetson_gpio(*_LAMPS)

    @staticmethod
    def _colour(label: str) -> tuple[float, float, float]:
        return colour_of(label).plain


class _Lamp:
    """One lamp, or the three of a colour lamp."""

    def __init__(self, gpio: Any, pins: tuple[int, ...]) -> None:
        self._gpio, self._pins = gpio, pins
        for pin in pins:
            gpio.setup(pin, gpio.OUT, initial=gpio.LOW)

    def _set(self, value: bool | tuple[float, ...]) -> None:
        for pin, lit in zip(self._pins, value if isinstance(value, tuple) else (value,), strict=True):
            self._gpio.output(pin, self._gpio.HIGH if lit else self._gpio.LOW)

    value = property(fset=_set)

    def close(self) -> None:
        """Switch off. The pin is released when the process ends; decision 35 explains why not earlier."""
        self._set((0.0,) * len(self._pins) if len(self._pins) > 1 else False)


def _refuse_shared_pins(pins: dict[str, tuple[int, ...]]) -> None:
    # Jetson.GPIO would silently set the pin up again.
    uses = Counter(pin for numbers in pins.values() for pin in numbers)
    if twice := sorted(pin for pin, count in uses.items() if count > 1):
        raise ConfigError(
            f"header pin {twice[0]} is used by two lamps; give each lamp its own pin",
            key="lamps.backend",
            value="jetson",
        )
