"""Detects that heat or too little power slows the board down, from its firmware or kernel.

Raspberry Pi: `get_throttled` of the firmware's driver (raspberrypi/linux pull request 2397: bits 0 to 3 are
are the present state, the rest is history). Other boards: the cooling devices of the thermal framework.
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
"""Equal readings in a row that start and end a report, so that it does not flap."""

HEAT, POWER = "too hot", "too little power"

_UNDER_VOLTAGE, _SLOWED = 0x1, 0xE
_SLOWING = ("cpufreq", "thermal-cpufreq", "Processor", "cpu-throttle-alert", "gpu-throttle-alert")
"""Type prefixes of the cooling devices that slow something down; a fan does not."""


class ThrottlingMonitor:
    """Watches for throttling. Not thread-safe."""

    def __init__(self, sys: Path | None = None) -> None:
        self._sys = sys or SYS
        self._next, self._same, self._seen = 0.0, 0, ""
        self.reason = ""
        """Why the board runs slower; "" if it does not."""

    def check(self, now: float | None = None) -> str:
        """The reason; reads the board at most every `EVERY_S`, and logs start and end."""
        now = time.monotonic() if now is None else now
        if now < self._next:
            return self.reason
        self._next = now + EVERY_S
        try:
            seen = self._read_board()
        except OSError as error:  # such as out of descriptors: the next check may succeed
            log.debug("the state of the board cannot be read: %s", error)
            return self.reason
        self._same = self._same + 1 if bool(seen) == bool(self._seen) else 1
        self._seen = seen
        if seen and (self.reason or self._same >= _BEGINS):
            if not self.reason:
                remedy = (
                    "use its own power supply and a short cable" if seen == POWER else "improve the cooling"
                )
                log.warning("the board runs slower: %s; %s", seen, remedy)
            self.reason = seen
        elif self.reason and not seen and self._same >= _ENDS:
            log.warning("the board runs at full speed again")
            self.reason = ""
        return self.reason

    def _read_board(self) -> str:
        bits = self._firmware_bits()
        if bits & _UNDER_VOLTAGE:
            return POWER
        if bits & _SLOWED or self._is_cooled():
            degrees = board.read_temperature(self._sys)
            shown = "" if degrees is None else f" ({degrees:.0f} °C)"
            return f"{HEAT}{shown}"
        return ""

    def _firmware_bits(self) -> int:
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
