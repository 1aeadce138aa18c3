"""Entries of the audit log from the web. A full disk must not keep the owner out, so it is only logged."""

from __future__ import annotations

import logging

from appliance.errors import StoreError
from appliance.web.caller import caller
from appliance.web.site import site

_log = logging.getLogger("appliance.web")


def note(event: str, who: str = "", **details: str | int | bool | None) -> None:
    """Add an event of the current request; `who` if it is not simply the caller."""
    try:
        site().audit.append(event, who or caller().who(), **details)
    except StoreError as error:
        _log.error("%s: not written: %s", event, error)
