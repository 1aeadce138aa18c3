"""Logs the first code, and resets a forgotten operator password."""

from __future__ import annotations

import logging

from appliance.audit import AuditLog
from appliance.auth.accounts import Accounts

_log = logging.getLogger("appliance.access")


def log_first_code(accounts: Accounts) -> None:
    """Log a new first code if the operator has no password."""
    if not accounts.has_operator():
        _log_code(accounts.new_first_code())


def reset_access(accounts: Accounts, audit: AuditLog, who: str) -> str:
    """Delete the operator's password, and log and return a new first code; viewers, tokens and records stay.

    `who`: for the audit log, "shell" or "button". Raises `StoreError`.
    """
    code = accounts.reset()
    audit.require("access", who, what="operator password reset")
    _log_code(code)
    return code


def _log_code(code: str) -> None:
    _log.warning("FIRST CODE %s: open /login and set the operator's password with it; it is valid once", code)
