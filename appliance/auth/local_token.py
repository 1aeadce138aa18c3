"""The token that root's programs on the device use to ask the service for its state.

Each service process makes a new one, with the role of a viewer. Only its own user and root can read the file.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from appliance.errors import StoreError
from appliance.system.files import write_private

FILE = "local-token"

log = logging.getLogger("appliance.access")


def publish_local_token(folder: Path, token: str) -> None:
    """Write the token of this service process; "" removes that of an earlier one."""
    if token:
        try:
            write_private(folder / FILE, token.encode())
        except StoreError as error:  # only the updater needs it
            log.warning("%s", error)
    else:
        with contextlib.suppress(OSError):
            (folder / FILE).unlink()
