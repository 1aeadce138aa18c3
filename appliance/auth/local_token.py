"""How programs of root and of the service's own user reach the running daemon on this device.

Each process that serves writes two files into the state directory, which only its own user and root can read:
the address it serves on this device, and a new token. The role of the token is viewer, and it also opens
`/api/status`.
"""

from __future__ import annotations

import logging
from pathlib import Path

from appliance.errors import StoreError
from appliance.system.files import write_private

TOKEN_FILE = "local-token"
URL_FILE = "local-url"

log = logging.getLogger("appliance.access")


def publish_local_access(folder: Path, url: str, token: str) -> None:
    """Write the address and the token of the process that serves now. A failure is logged."""
    try:
        write_private(folder / URL_FILE, url.encode())
        write_private(folder / TOKEN_FILE, token.encode())
    except StoreError as error:  # only `status` and the updater need them
        log.warning("%s", error)
