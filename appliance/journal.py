"""Where the log goes: to systemd's journal with fields of its own, or to standard error."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Mapping

from appliance.terminal import Formatter

_IDENTIFIER = "interview-grader"


class Fields(logging.Filter):
    """Gives every record the fields WORKER (its thread) and CAMERA (the backend in use, once known)."""

    def __init__(self) -> None:
        super().__init__()
        self.camera = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """The journal's handler sends what it finds in capitals on the record."""
        record.WORKER = record.threadName
        if self.camera:
            record.CAMERA = self.camera
        return True


def handlers(environment: Mapping[str, str]) -> list[logging.Handler]:
    """The journal if standard error is its and systemd's Python package is here, else standard error."""
    if _is_journal(environment):
        try:
            journal = importlib.import_module("systemd.journal")
        except ImportError:
            pass
        else:
            handler: logging.Handler = journal.JournalHandler(SYSLOG_IDENTIFIER=_IDENTIFIER)
            handler.addFilter(Fields())
            handler.setFormatter(Formatter("%(message)s"))  # the rest has fields of its own
            return [handler]
    plain = logging.StreamHandler(sys.stderr)
    plain.setFormatter(Formatter("%(levelname)s %(name)s: %(message)s"))
    return [plain]


def name_camera(backend: str) -> None:
    """From now on every entry of the journal says which camera backend is in use."""
    for handler in logging.getLogger().handlers:
        for fields in handler.filters:
            if isinstance(fields, Fields):
                fields.camera = backend


def _is_journal(environment: Mapping[str, str]) -> bool:
    """JOURNAL_STREAM names the device and inode of the journal's end of standard error."""
    try:
        found = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
