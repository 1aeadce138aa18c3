"""The lamps of a device over any pins: what each shows, how a fault blinks, the test at the start."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from appliance.colours import label_rgb
from appliance.errors import LampError
from appliance.values import LampState

log = logging.getLogger("appliance.lamps")

ON_S, OFF_S, PAUSE_S = 0.25, 0.25, 1.5
"""A blink, the gap to the next, and the pause before the code begins again, in seconds."""

TEST_S = 0.2
"""How long each lamp is lit in the test, and dark after it."""

_DARK = (0.0, 0.0, 0.0)

_TEST = (
    *(("running", True), ("camera", True), ("camera", True), ("fault", True)),
    *(("colour", (1.0, 0.0, 0.0)), ("colour", (0.0, 1.0, 0.0)), ("colour", (0.0, 0.0, 1.0))),
)
"""The camera lamp twice and short: while the camera is open it never blinks."""


def blinks(code: int) -> Iterator[tuple[bool, float]]:
    """Lit or not and for how many seconds, once through a code of 1 or more."""
    for number in range(1, code + 1):
        yield True, ON_S
        yield False, OFF_S if number < code else PAUSE_S


class Bank:
    """What the lamps show, each written only when that changes. A kind of board fills `_lamps` by role.

    A lamp has a `value` (True or False; of `colour` red, green and blue from 0 to 1), and `close`.
    """

    present = True

    def __init__(self) -> None:
        self._shown: dict[str, object] = {}
        self._lamps: dict[str, Any] = {}
        self._blinker = Blinker(lambda lit: self._write("fault", lit))

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
        self._blinker.show(state.fault_blinks)
        self._write("colour", _DARK if state.colour is None else self._colour(state.colour))

    def dark(self) -> None:
        """All out but the camera lamp."""
        self.show(LampState(running=False, fault_blinks=0, colour=None))

    def test(self, pause: Callable[[float], object]) -> None:
        """Light each lamp for a moment, one after the other; one that cannot be is named in the log."""
        for role, lit in _TEST:
            if role not in self._lamps:
                continue
            try:
                self._write(role, lit)
                pause(TEST_S)
                self._write(role, _DARK if role == "colour" else False)
                pause(TEST_S)
            except LampError as error:
                log.error("the test of the lamps: %s", error)

    def close(self) -> None:
        """Everything out, pins given back. May be called twice."""
        self._blinker.stop()
        for role, lamp in self._lamps.items():
            try:
                lamp.close()
            except Exception as error:  # whatever the vendor's code raises
                log.error("the %s lamp cannot be put out: %s", role, error)
        self._lamps, self._shown = {}, {}

    @staticmethod
    def _colour(label: str) -> tuple[float, float, float]:
        red, green, blue = label_rgb(label)
        return red / 255, green / 255, blue / 255

    def _write(self, role: str, value: object) -> None:
        lamp = self._lamps.get(role)
        if lamp is None and role == "camera" and value:
            raise LampError("the camera lamp was given back already; start the appliance again")
        if lamp is None or self._shown.get(role) == value:
            return
        try:
            lamp.value = value
        except Exception as error:  # whatever the vendor's code raises
            raise LampError(f"the {role} lamp cannot be driven: {error}") from error
        self._shown[role] = value


class Blinker:
    """Blinks a lamp on a thread of its own, so that the rhythm does not depend on frames. For one caller."""

    def __init__(self, write: Callable[[bool], None]) -> None:
        self._write = write
        self._code = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def show(self, code: int) -> None:
        """So many blinks again and again from now on, 0 for dark; nothing changes for the same code."""
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
        """No more blinks; the lamp stays as it is. May be called twice."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._code = None, 0

    def _blink(self, code: int, stop: threading.Event) -> None:
        try:
            for lit, seconds in cycle(list(blinks(code))):
                self._write(lit)
                if stop.wait(seconds):
                    return
        except LampError as error:
            log.error("%s", error)
