"""Lamps through gpiozero: running, camera open, fault, and an RGB lamp; each written on change only."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import ConfigError, LampError
from appliance.gpio import Factory, load_gpiozero, make_factory
from appliance.health import lamp_state
from appliance.palette import rgb
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
    fault: int = Field(22, ge=-1, le=64, description="Pin of the lamp that is lit while something is wrong.")
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

    def close(self) -> None:
        """There are no lamps."""


class GpioLamps:
    """Lamps on GPIO pins. Each pin is written only when its state changes."""

    Settings: ClassVar[type[BaseModel]] = GpioSettings
    present = True

    def __init__(self, settings: GpioSettings) -> None:
        """Claims the pins; raises `ConfigError` when they cannot be had."""
        self._shown: dict[str, object] = {}
        self._lamps: dict[str, Any] = {}
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

    def camera_on(self) -> None:
        """Light the camera lamp; raises `LampError` when it stays dark."""
        self._write("camera", True)

    def camera_off(self) -> None:
        """Put the camera lamp out."""
        try:
            self._write("camera", False)
        except LampError as error:
            log.error("%s", error)  # the camera is closed already: a lamp that stays lit is the safe side

    def show(self, state: LampState) -> None:
        """Running, fault and colour; the camera lamp belongs to `capture`."""
        self._write("running", state.running)
        self._write("fault", state.fault)
        channels = (0, 0, 0) if state.colour is None else rgb(state.colour)
        self._write("colour", tuple(channel / 255 for channel in channels))

    def dark(self) -> None:
        """All out but the camera lamp."""
        self.show(LampState(running=False, fault=False, colour=None))

    def close(self) -> None:
        """Everything out, pins given back. May be called twice."""
        for lamp in self._lamps.values():
            lamp.close()
        self._lamps, self._shown = {}, {}

    def _write(self, role: str, value: object) -> None:
        lamp = self._lamps.get(role)
        if lamp is None and role == "camera" and value:
            raise LampError("the camera lamp was given back already; start the appliance again")
        if lamp is None or self._shown.get(role) == value:
            return
        try:
            lamp.value = value
        except (OSError, RuntimeError, ValueError) as error:
            raise LampError(f"the {role} lamp cannot be driven: {error}") from error
        self._shown[role] = value


class LampSink:
    """Shows on the lamps how the appliance is and what the largest face in view expresses."""

    def __init__(self, shared: Shared, lamps: Lamps) -> None:
        self._shared, self._lamps = shared, lamps

    def take(self, reading: Reading) -> None:
        """The colour of the largest face that is analysed."""
        read = [person for person in reading.people if person.label != NOT_ANALYSED]
        nearest = max(read, key=lambda person: person.face.box.area, default=None)
        self._show(nearest.label if nearest else None)

    def idle(self) -> None:
        """No face to show; fault if the camera is gone."""
        self._show(None)

    def close(self) -> None:
        """All out but the camera lamp, which stays lit until the camera is closed."""
        self._lamps.dark()

    def _show(self, label: str | None) -> None:
        session = self._shared.session
        verdict, _ = self._shared.health.verdict(session.state, session.live_s)
        self._lamps.show(lamp_state(verdict, label))


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    """gpiozero's many warnings and errors as one `ConfigError`; a fallback that works goes to the log."""
    gpiozero = load_gpiozero()
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", gpiozero.PinFactoryFallback)
        try:
            yield
        except (gpiozero.GPIOZeroError, ImportError, OSError, RuntimeError) as error:
            raise ConfigError(
                f"the lamps cannot be had: {type(error).__name__}: {error}; check lamps.factory and the pins",
                key="lamps.backend",
                value="gpiozero",
            ) from error
    for warning in heard:
        log.warning("%s", warning.message)
