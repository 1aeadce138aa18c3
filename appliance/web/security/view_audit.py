"""The audit of viewing: who saw the picture or the readings of which session."""

from __future__ import annotations

from flask import request

from appliance.web.context import context
from appliance.web.security.caller import caller


class ViewAudit:
    """Writes one line of the audit log for each session that a caller sees.

    Not one for each request: a caller who requests snapshots all day would fill the disk.
    """

    def __init__(self, what: str) -> None:
        """`what`: picture or readings. Make it within the request; `record` may be called after it."""
        known = caller()
        self._context, self._what = context(), what
        self._actor, self._name, self._address = known.actor, known.name, request.remote_addr or ""

    def record(self) -> None:
        """The caller was shown something of the session in force, if there is one."""
        now = self._context.session.snapshot
        viewer = self._what, self._actor, self._name, self._address
        if now.info and self._context.seen.is_first(now.consent_epoch, *viewer):
            named = {"name": self._name} if self._name not in ("", self._actor) else {}
            self._context.audit.record(
                "viewer",
                self._actor,
                session=now.info.id,
                what=self._what,
                address=self._address,
                **named,
            )
