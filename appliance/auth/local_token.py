"""Lets programs of root and of the service's user reach the running daemon on this device.

Each server process writes two files into the state directory, which only its own user and root can read: its
address on this device, and a new token. The token has the role viewer, and also opens `/api/status`.
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
    """Write the address and the token of this server process. A failure is logged."""
    try:
        write_private(folder / URL_FILE, url.encode())
        write_private(folder / TOKEN_FILE, token.encode())
    except StoreError as error:  # only `status` and the updater need them
        log.warning("%s", error)
