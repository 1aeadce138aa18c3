"""Lines of the audit log about what programs may do again and again: the same one at most once an hour."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from appliance.audit import AuditLog

EVERY_S = 3600.0

_MOST_REMEMBERED = 4096
"""Lines; the oldest are forgotten first, and written again."""


class HourlyAudit:
    """Writes a line unless the log has the same one within the last hour: more would fill the disk."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit, self._clock, self._lock = audit, clock, threading.Lock()
        self._written: OrderedDict[tuple[object, ...], float] = OrderedDict()

    def require(self, event: str, who: str, **details: str) -> bool:
        """As `AuditLog.require`; whether the line was written."""
        line, now = (event, who, *sorted(details.items())), self._clock()
        with self._lock:
            if now - self._written.get(line, -EVERY_S) < EVERY_S:
                return False
        self._audit.require(event, who, **details)
        with self._lock:
            self._written[line] = now
            self._written.move_to_end(line)
            while len(self._written) > _MOST_REMEMBERED:
                self._written.popitem(last=False)
        return True
