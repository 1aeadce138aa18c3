"""The token with which root's programs on the device ask the service for its state.

The service makes a new one at each start. Only its own user and root can read it, and its role is viewer.
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
    except StoreError as error:  # only the updater needs it
        log.warning("%s", error)
        return ""
    return token
