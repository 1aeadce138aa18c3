"""The token with which root's programs on the device ask the service for its state.

Each process that serves makes a new one. Only its own user and root can read the file; its role is viewer.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from appliance.errors import StoreError
from appliance.system.files import write_private

FILE = "local-token"

log = logging.getLogger("appliance.access")


def publish(folder: Path, token: str) -> None:
    """Write the token of the process that serves now; "" removes that of an earlier one."""
    if token:
        try:
            write_private(folder / FILE, token.encode())
        except StoreError as error:  # only the updater needs it
            log.warning("%s", error)
    else:
        with contextlib.suppress(OSError):
            (folder / FILE).unlink()
