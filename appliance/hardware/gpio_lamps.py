"""Lamps on the GPIO pins of a Raspberry Pi, through gpiozero."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import ConfigError
from appliance.hardware.gpio import PinFactory, load_gpiozero, make_pin_factory
from appliance.hardware.lamps import LampPanel

log = logging.getLogger("appliance.lamps")


class GpioSettings(BaseModel):
    """Settings of `lamps.backend = "gpiozero"`. Pins are GPIO numbers; -1 leaves a lamp out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factory: PinFactory = Field("default", description="gpiozero's pin factory; mock drives no hardware.")
    running: int = Field(
        17, ge=-1, le=64, description="Pin of the lamp that is lit while the appliance runs."
    )
    camera: int = Field(27, ge=0, le=64, description="Pin of the lamp that is lit while the camera is open.")
    fault: int = Field(22, ge=-1, le=64, description="Pin of the lamp that blinks a fault.")
    red: int = Field(16, ge=-1, le=64, description="Pin of the RGB lamp's red.")
    green: int = Field(20, ge=-1, le=64, description="Pin of the RGB lamp's green.")
    blue: int = Field(21, ge=-1, le=64, description="Pin of the RGB lamp's blue.")


class GpioLamps(LampPanel):
    """Lamps on the pins of a Raspberry Pi."""

    Settings = GpioSettings

    def __init__(self, settings: GpioSettings) -> None:
        """Claim the pins; raises `ConfigError` when one is unavailable."""
        super().__init__()
        try:
            with _as_one_line():
                self._claim(settings)
        except ConfigError:
            self.close()
            raise

    @staticmethod
    def check(settings: GpioSettings) -> None:
        """Check that the lamps are available, without claiming a pin; raises `ConfigError`."""
        with _as_one_line():
            make_pin_factory(settings.factory)

    def _claim(self, settings: GpioSettings) -> None:
        gpiozero = load_gpiozero()
        factory = make_pin_factory(settings.factory)
        for role in ("running", "camera", "fault"):
            if (pin := getattr(settings, role)) >= 0:
                self._lamps[role] = gpiozero.LED(pin, pin_factory=factory)
        if min(settings.red, settings.green, settings.blue) >= 0:
            pins = settings.red, settings.green, settings.blue
            self._lamps["colour"] = gpiozero.RGBLED(*pins, pin_factory=factory)


@contextmanager
def _as_one_line() -> Iterator[None]:
    """Turn gpiozero's warnings and errors into one `ConfigError`; log a fallback that works."""
    gpiozero = load_gpiozero()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", gpiozero.PinFactoryFallback)
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:  # libraries raise anything; lgpio's own error is a plain Exception
            raise ConfigError(
                f"cannot use the lamps: {type(error).__name__}: {error}; check lamps.factory and the pins",
                key="lamps.backend",
                value="gpiozero",
            ) from error
    for warning in caught:
        log.warning("%s", warning.message)
