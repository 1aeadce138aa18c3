"""Blinks the fault lamp after the service has failed: `python -m appliance.commands.blink_failed`.

The service manager runs it when it no longer restarts the service, and stops it before the next start, which
needs the pins: systemd/interview-grader-gave-up.service.
"""

from __future__ import annotations

import sys
from threading import Event

from appliance.commands.lamps_off import with_lamps
from appliance.hardware.fault_codes import NOT_RUNNING, lamp_state
from appliance.ports import Lamps
from appliance.system.signals import stop_on_signals
from appliance.system.terminal import escaped_output


def main() -> int:
    """Blink until a signal stops it; without lamps, or with invalid lamp settings, return immediately."""
    with stop_on_signals() as stop:
        otherwise = "the fault lamp cannot show that the service failed"
        return with_lamps(lambda lamps: _blink(lamps, stop), otherwise)


def _blink(lamps: Lamps, stop: Event) -> None:
    if lamps.present:
        lamps.show(lamp_state(NOT_RUNNING, None))
        stop.wait()


if __name__ == "__main__":
    with escaped_output():
        sys.exit(main())
