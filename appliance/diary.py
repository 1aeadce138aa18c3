"""What the session tells the audit log: beginnings before they happen, ends after them."""

from __future__ import annotations

import logging

from appliance.audit import AuditLog
from appliance.errors import StoreError

log = logging.getLogger("appliance.session")


class Diary:
    """An audit log, or none, in which a beginning must be written and an end need not wait."""

    def __init__(self, audit: AuditLog | None) -> None:
        self._audit = audit

    def before(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write down what is about to begin; raises `StoreError` when that fails: it must not begin."""
        if self._audit is not None:
            self._audit.append(event, who, **details)

    def after(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write down what has ended; if that cannot be, the log of the daemon says so."""
        try:
            self.before(event, who, **details)
        except StoreError as error:
            log.error("%s by %s is missing in the audit log: %s", event, who, error)
