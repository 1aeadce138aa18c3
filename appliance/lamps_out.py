"""Puts the lamps out after the appliance has ended, however that was: `python -m appliance.lamps_out`.

A board may keep a pin as it was when its program was killed. The service manager runs this after every end.
"""

from __future__ import annotations

import sys

from appliance import environment, registry
from appliance.config import load_lamps
from appliance.errors import ApplianceError, ConfigErrors
from appliance.layers import Request


def main() -> int:
    """Claim every configured pin, drive it low, give it back."""
    environment.prepare()
    try:
        lamps = load_lamps(Request())
        registry.load("lamps", lamps.backend)(lamps.settings).close()
    except ConfigErrors:
        pass  # with such lamps it does not start, and has said so itself
    except ApplianceError as error:
        print(f"the lamps may still be lit: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
