"""The lamps of a device, whatever drives the pins: write on change, blink a fault code, test at the start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from pydantic import BaseModel, ConfigDict

from appliance.colours import lamp_rgb_of
from appliance.errors import LampError
from appliance.values import LampState

log = logging.getLogger("appliance.lamps")

ON_S, OFF_S, PAUSE_S = 0.25, 0.25, 1.5
"""Seconds of a blink, of the gap to the next, and of the pause before the code repeats."""

TEST_S = 0.2
"""Seconds for which the test lights each lamp and then keeps it dark."""

_DARK = (0.0, 0.0, 0.0)

_TEST = (
    *(("running", True), ("camera", True), ("camera", True), ("fault", True)),
    *(("colour", (1.0, 0.0, 0.0)), ("colour", (0.0, 1.0, 0.0)), ("colour", (0.0, 0.0, 1.0))),
)
"""The camera lamp flashes twice in the test: while the camera is open it never blinks."""


def blink_pattern(code: int) -> Iterator[tuple[bool, float]]:
    """One repetition of a code of 1 or more: (lit, seconds) for each step."""
    for number in range(1, code + 1):
        yield True, ON_S
        yield False, OFF_S if number < code else PAUSE_S


class NoSettings(BaseModel):
    """`lamps.backend = "none"` has no settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoLamps:
    """A device without lamps: every call does nothing; the page and the log report it."""

    Settings = NoSettings
    present = False

    def __init__(self, settings: NoSettings) -> None:
        del settings

    @staticmethod
    def check(settings: NoSettings) -> None:
        """Accept: there is nothing to check."""
        del settings

    def camera_on(self) -> None:
        """Do nothing."""

    def camera_off(self) -> None:
        """Do nothing."""

    def show(self, state: LampState) -> None:
        """Do nothing."""

    def dark(self) -> None:
        """Do nothing."""

    def test(self, pause: Callable[[float], object]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class LampPanel:
    """Lamps by role: `running`, `camera`, `fault`, `colour`. A board's subclass fills `_lamps`.

    A lamp has a `close`, and a `value` to set: a bool, or for `colour` red, green and blue from 0 to 1. Each
    is written only when its value changes.
    """

    present = True

    def __init__(self) -> None:
        self._shown: dict[str, object] = {}
        self._lamps: dict[str, Any] = {}
        self._blinker = FaultBlinker(lambda lit: self._write("fault", lit))

    def camera_on(self) -> None:
        """Light the camera lamp; raises `LampError` when it stays dark."""
        self._write("camera", True)

    def camera_off(self) -> None:
        """Switch the camera lamp off."""
        try:
            self._write("camera", False)
        except LampError as error:
            log.error("%s", error)  # the camera is already closed: a lit lamp is the safe side

    def show(self, state: LampState) -> None:
        """Set running, fault and colour; the camera lamp belongs to `loops.CaptureLoop`."""
        self._write("running", state.running)
        self._blinker.show(state.fault_blinks)
        self._write("colour", _DARK if state.colour is None else self._colour(state.colour))

    def dark(self) -> None:
        """Switch off all lamps except the camera lamp."""
        self.show(LampState(running=False, fault_blinks=0, colour=None))

    def test(self, pause: Callable[[float], object]) -> None:
        """Light each lamp for a moment, one after the other; log each that fails."""
        for role, lit in _TEST:
            if role not in self._lamps:
                continue
            try:
                self._write(role, lit)
                pause(TEST_S)
                self._write(role, _DARK if role == "colour" else False)
                pause(TEST_S)
            except LampError as error:
                log.error("lamp test: %s", error)

    def close(self) -> None:
        """Switch everything off and release the pins. May be called twice."""
        self._blinker.stop()
        for role, lamp in self._lamps.items():
            try:
                lamp.close()
            except Exception as error:  # vendors raise anything
                log.error("the %s lamp cannot be switched off: %s", role, error)
        self._lamps, self._shown = {}, {}

    @staticmethod
    def _colour(label: str) -> tuple[float, float, float]:
        red, green, blue = lamp_rgb_of(label)
        return red / 255, green / 255, blue / 255

    def _write(self, role: str, value: object) -> None:
        lamp = self._lamps.get(role)
        if lamp is None and role == "camera" and value:
            raise LampError("the camera lamp was already released; restart the appliance")
        if lamp is None or self._shown.get(role) == value:
            return
        try:
            lamp.value = value
        except Exception as error:  # vendors raise anything
            raise LampError(f"the {role} lamp cannot be driven: {error}") from error
        self._shown[role] = value


class FaultBlinker:
    """Blinks a code on its own thread, so that the rhythm does not depend on frames. Not thread-safe."""

    def __init__(self, write: Callable[[bool], None]) -> None:
        self._write = write
        self._code = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, code: int) -> None:
        """Repeat `code` blinks from now on; 0 is dark. Repeating the same code has no effect."""
        if code and code == self._code:
            return
        self.stop()
        self._write(code > 0)
        self._code = code
        if code:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._blink, args=(code, self._stop), daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop blinking; the lamp stays as it is. May be called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._code = None, 0

    def _blink(self, code: int, stop: threading.Event) -> None:
        try:
            for lit, seconds in cycle(list(blink_pattern(code))):
                self._write(lit)
                if stop.wait(seconds):
                    return
        except LampError as error:
            log.error("%s", error)
