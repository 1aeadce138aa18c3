"""The token by which root's programs on the device ask the service how it is.

The service makes it at each start. Only the service's user and root can read it, and it may only watch, so it tells
them apart from every other account of the device where loopback alone is no login.
"""

from __future__ import annotations

import logging
import secrets
from pathlib import Path

from appliance.errors import StoreError
from appliance.files import write_private

FILE = "local-token"

log = logging.getLogger("appliance.access")


def new_local_token(folder: Path) -> str:
    """64 hexadecimal digits, also written to `FILE` in `folder`; "" where it cannot be written."""
    token = secrets.token_hex(32)
    try:
        write_private(folder / FILE, token.encode())
    except (
        StoreError
    ) as error:  # the updater then refuses to restart the service unasked; nothing else suffers
        log.warning("%s", error)
        return ""
    return token
