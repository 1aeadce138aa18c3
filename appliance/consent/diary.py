"""What the session tells the audit log: beginnings before they happen, ends after them."""

from __future__ import annotations

import logging
from functools import partial

from appliance.audit import AuditLog
from appliance.errors import StoreError
from appliance.system.background import BackgroundWriter

log = logging.getLogger("appliance.session")


class Diary:
    """An audit log, or none, in which a beginning must be written and an end need not wait."""

    def __init__(self, audit: AuditLog | None, writer: BackgroundWriter) -> None:
        """`writer` does all of the writing, so that the lines are in the order of what happened."""
        self._audit, self._writer = audit, writer

    def before(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write down what is about to begin; raises `StoreError` when that fails: it must not begin."""
        if self._audit is not None:
            append = partial(self._audit.append, event, who, **details)
            self._writer.call(f"{event} by {who}", append)

    def after(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Have written down what has ended, without waiting for it."""
        self._writer.submit(f"{event} by {who}", partial(self.now, event, who, **details))

    def now(self, event: str, who: str, **details: str | int | bool | None) -> None:
        """Write down what has ended, in the writer's thread; a failure goes to the daemon's log."""
        try:
            if self._audit is not None:
                self._audit.append(event, who, **details)
        except StoreError as error:
            log.error("%s by %s is missing in the audit log: %s", event, who, error)
