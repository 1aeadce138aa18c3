"""Whether the board is slowed down by heat or gets too little power, as its firmware or kernel says.

Raspberry Pi: `get_throttled` of the firmware's driver (raspberrypi/linux pull request 2397: bits 0 to 3 are
the present, the rest is history). Others: the cooling devices of the thermal framework that slow processors.
"""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from appliance.hardware import board

log = logging.getLogger("appliance.strain")

SYS = Path("/sys")
EVERY_S = 5.0

_BEGINS, _ENDS = 2, 6
"""Answers in a row after which a strain is told, and after which it is over: it must not flap."""

HEAT, POWER = "too hot", "too little power"

_UNDER_VOLTAGE, _SLOWED = 0x1, 0xE
_SLOWING = ("cpufreq", "thermal-cpufreq", "Processor", "cpu-throttle-alert", "gpu-throttle-alert")
"""How the types of cooling devices begin that slow something down; a fan is none."""


class Strain:
    """`look` is called as often as one likes. Belongs to one thread."""

    def __init__(self, sys: Path | None = None) -> None:
        self._sys = sys or SYS
        self._next, self._same, self._seen = 0.0, 0, ""
        self.reason = ""
        """What strains the board, in words; "" if nothing does."""

    def look(self, now: float | None = None) -> str:
        """The reason, after asking the board if it is time for that; begin and end go to the log."""
        now = time.monotonic() if now is None else now
        if now < self._next:
            return self.reason
        self._next = now + EVERY_S
        try:
            seen = self._asked()
        except OSError as error:  # as when descriptors are short: the next look may tell
            log.debug("the board cannot be asked: %s", error)
            return self.reason
        self._same = self._same + 1 if bool(seen) == bool(self._seen) else 1
        self._seen = seen
        if seen and (self.reason or self._same >= _BEGINS):
            if not self.reason:
                remedy = (
                    "use its own power supply, a short cable" if seen == POWER else "give it air or a fan"
                )
                log.warning("the board works slower: %s; %s", seen, remedy)
            self.reason = seen
        elif self.reason and not seen and self._same >= _ENDS:
            log.warning("the board is well again")
            self.reason = ""
        return self.reason

    def _asked(self) -> str:
        bits = self._firmware()
        if bits & _UNDER_VOLTAGE:
            return POWER
        if bits & _SLOWED or self._is_cooled():
            degrees = board.temperature(self._sys)
            told = "" if degrees is None else f" ({degrees:.0f} °C)"
            return f"{HEAT}{told}"
        return ""

    def _firmware(self) -> int:
        for path in (self._sys / "bus/platform/drivers/raspberrypi-firmware").glob("*/get_throttled"):
            with contextlib.suppress(OSError, ValueError):
                return int(path.read_text(encoding="ascii"), 16)
        return 0

    def _is_cooled(self) -> bool:
        for device in (self._sys / "class/thermal").glob("cooling_device*"):
            with contextlib.suppress(OSError, ValueError):
                kind = (device / "type").read_text(encoding="ascii")
                if kind.startswith(_SLOWING) and int((device / "cur_state").read_text(encoding="ascii")) > 0:
                    return True
        return False
