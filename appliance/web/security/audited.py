"""Entries of the audit log from the web. A full disk must not keep the owner out, so it is only logged."""

from __future__ import annotations

import logging

from flask import request

from appliance.errors import StoreError
from appliance.web.security.caller import caller
from appliance.web.site import Site, site

_log = logging.getLogger("appliance.web")


def note(event: str, who: str = "", **details: str | int | bool | None) -> None:
    """Add an event of the current request; `who` if it is not simply the caller."""
    _add(site(), event, who or caller().who(), **details)


class Watch:
    """Somebody who is shown something: the audit log has one line for each session that they saw.

    Not one for each request: whoever asks for snapshots all day would fill the disk with it.
    """

    def __init__(self, what: str) -> None:
        """`what`: picture or readings. Made within the request; `saw` may be called after it as well."""
        known = caller()
        self._site, self._what = site(), what
        self._who, self._name, self._address = known.who(), known.name, request.remote_addr or ""

    def saw(self) -> None:
        """They were shown something of the agreement in force, if one is."""
        now = self._site.session.now
        viewer = self._what, self._who, self._name, self._address
        if now.sitting and self._site.seen.is_first(now.number, *viewer):
            about = {"session": now.sitting.id, "what": self._what, "address": self._address}
            named = {"name": self._name} if self._name not in ("", self._who) else {}
            _add(self._site, "viewer", self._who, **about, **named)


def _add(here: Site, event: str, who: str, **details: str | int | bool | None) -> None:
    try:
        here.audit.append(event, who, **details)
    except StoreError as error:
        _log.error("%s: not written: %s", event, error)
