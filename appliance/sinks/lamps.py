"""Lamps through gpiozero, none, and the sink that shows on them how the appliance is."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import ConfigError, LampError
from appliance.hardware.fault_codes import condition, lamp_state
from appliance.hardware.gpio import Factory, load_gpiozero, make_factory
from appliance.hardware.lamp_bank import Bank
from appliance.ports import Lamps
from appliance.sinks import Shared
from appliance.values import NOT_ANALYSED, LampState, Reading

log = logging.getLogger("appliance.lamps")


class NoSettings(BaseModel):
    """`lamps.backend = "none"` has no settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class GpioSettings(BaseModel):
    """Settings of `lamps.backend = "gpiozero"`. Pins are GPIO numbers; -1 leaves a lamp out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    factory: Factory = Field("default", description="gpiozero's pin factory; mock drives no hardware.")
    running: int = Field(
        17, ge=-1, le=64, description="Pin of the lamp that is lit while the appliance runs."
    )
    camera: int = Field(27, ge=0, le=64, description="Pin of the lamp that is lit while the camera is open.")
    fault: int = Field(22, ge=-1, le=64, description="Pin of the lamp that blinks a fault.")
    red: int = Field(16, ge=-1, le=64, description="Pin of the RGB lamp's red.")
    green: int = Field(20, ge=-1, le=64, description="Pin of the RGB lamp's green.")
    blue: int = Field(21, ge=-1, le=64, description="Pin of the RGB lamp's blue.")


class NoLamps:
    """No lamps: nothing is lit, and the page and the log say so."""

    Settings: ClassVar[type[BaseModel]] = NoSettings
    present = False

    def __init__(self, settings: NoSettings) -> None:
        del settings

    @staticmethod
    def check(settings: NoSettings) -> None:
        """There is nothing to check."""
        del settings

    def camera_on(self) -> None:
        """There is no camera lamp."""

    def camera_off(self) -> None:
        """There is no camera lamp."""

    def show(self, state: LampState) -> None:
        """There are no lamps."""

    def dark(self) -> None:
        """There are no lamps."""

    def test(self, pause: Callable[[float], object]) -> None:
        """There are no lamps."""

    def close(self) -> None:
        """There are no lamps."""


class GpioLamps(Bank):
    """Lamps on the pins of a Raspberry Pi."""

    Settings: ClassVar[type[BaseModel]] = GpioSettings

    def __init__(self, settings: GpioSettings) -> None:
        """Claims the pins; raises `ConfigError` when they cannot be had."""
        super().__init__()
        try:
            with _told_in_one_line():
                self._claim(settings)
        except ConfigError:
            self.close()
            raise

    @staticmethod
    def check(settings: GpioSettings) -> None:
        """Whether lamps could be had, without claiming a pin; raises `ConfigError`."""
        with _told_in_one_line():
            make_factory(settings.factory)

    def _claim(self, settings: GpioSettings) -> None:
        gpiozero = load_gpiozero()
        factory = make_factory(settings.factory)
        for role in ("running", "camera", "fault"):
            if (pin := getattr(settings, role)) >= 0:
                self._lamps[role] = gpiozero.LED(pin, pin_factory=factory)
        if min(settings.red, settings.green, settings.blue) >= 0:
            pins = settings.red, settings.green, settings.blue
            self._lamps["colour"] = gpiozero.RGBLED(*pins, pin_factory=factory)


class LampSink:
    """Shows on the lamps how the appliance is and what the largest face in view expresses."""

    def __init__(self, shared: Shared, lamps: Lamps) -> None:
        self._shared, self._lamps = shared, lamps
        self._told = ""

    def take(self, reading: Reading) -> None:
        """The colour of the largest face that is analysed."""
        read = [person for person in reading.people if person.label != NOT_ANALYSED]
        nearest = max(read, key=lambda person: person.face.box.area, default=None)
        self._show(nearest.label if nearest else None)

    def idle(self) -> None:
        """No face to show."""
        self._show(None)

    def close(self) -> None:
        """All out but the camera lamp, which stays lit until the camera is closed."""
        self._try(self._lamps.dark)

    def _show(self, label: str | None) -> None:
        session = self._shared.session
        state = lamp_state(condition(self._shared.health, session.state, session.elapsed_s), label)
        self._try(lambda: self._lamps.show(state))

    def _try(self, action: Callable[[], None]) -> None:
        """What no lamp shows the page still does: a broken one is named once and ends nothing."""
        try:
            action()
            self._told = ""
        except LampError as error:
            if str(error) != self._told:
                log.error("%s", error)
            self._told = str(error)


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """gpiozero's many warnings and errors as one `ConfigError`; a fallback that works goes to the log."""
    gpiozero = load_gpiozero()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", gpiozero.PinFactoryFallback)
        try:
            yield
        except ConfigError:
            raise
        except Exception as error:  # whatever the vendors' code raises: lgpio's is no more than that
            raise ConfigError(
                f"the lamps cannot be had: {type(error).__name__}: {error}; check lamps.factory and the pins",
                key="lamps.backend",
                value="gpiozero",
            ) from error
    for warning in heard:
        log.warning("%s", warning.message)
