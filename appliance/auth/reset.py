"""The first code said aloud, and the way back for whoever forgot the password."""

from __future__ import annotations

import logging

from appliance.audit import AuditLog
from appliance.auth.accounts import Accounts

_log = logging.getLogger("appliance.access")


def say_first_code(accounts: Accounts) -> None:
    """While the operator has no password: a new first code, to console and journal."""
    if not accounts.has_operator():
        _say(accounts.new_first_code())


def reset_access(accounts: Accounts, audit: AuditLog, who: str) -> str:
    """Forget the operator's password and say a new first code; viewers, tokens and records stay.

    `who` as the audit log writes it: "shell", "button". Raises `StoreError`.
    """
    code = accounts.reset()
    audit.require("access", who, what="operator password reset")
    _say(code)
    return code


def _say(code: str) -> None:
    _log.warning("FIRST CODE %s: open /login and set the operator's password with it; it is valid once", code)
