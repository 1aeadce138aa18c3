"""Switches the lamps off after the appliance has ended: `python -m appliance.commands.lamps_off`.

A pin may keep its level after its program was killed. The service manager runs this after every exit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from appliance import registry
from appliance.configuration.layers import ConfigOptions
from appliance.configuration.load import load_lamps_config
from appliance.errors import ApplianceError, ConfigErrors
from appliance.ports import Lamps
from appliance.system import native
from appliance.system.terminal import escaped_output


def main() -> int:
    """Claim every configured pin, drive it low and release it; returns the exit code."""
    return with_lamps(lambda lamps: None, "the lamps may still be lit")


def with_lamps(use: Callable[[Lamps], None], otherwise: str) -> int:
    """Use the lamps while the appliance does not run, then switch them off; returns the exit code.

    `otherwise`: the consequence to report if they are unavailable.
    """
    native.prepare()
    try:
        choice = load_lamps_config(ConfigOptions())
        lamps = registry.load("lamps", choice.backend)(choice.settings)
        try:
            use(lamps)
        finally:
            lamps.close()
    except ConfigErrors:
        pass  # the appliance does not start with these settings, and has reported it
    except ApplianceError as error:
        print(f"{otherwise}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with escaped_output():
        sys.exit(main())
