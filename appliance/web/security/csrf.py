"""Protection against cross-site requests: the token that a POST carries in addition to its Origin."""

from __future__ import annotations

from flask import abort, request

from appliance.web.context import context
from appliance.web.security.caller import GUEST, LOOPBACK, TOKEN, caller

HEADER, FIELD = "X-CSRF-Token", "csrf_token"
"""The header (scripts) and the field (forms) that carry the token."""

_SAFE = ("GET", "HEAD", "OPTIONS")


def csrf_token() -> str:
    """The token for the forms and scripts of the current page, bound to its reader's login.

    Empty for an unknown reader: the network must not learn the token of the device itself.
    """
    subject = _token_subject()
    return context().auth.cookies.form_token(subject) if subject else ""


def require_csrf_token() -> None:
    """End a request with 403 that changes something and does not carry its page's token."""
    who = caller()
    if request.method in _SAFE or who.kind == TOKEN:
        return  # no browser adds a bearer token automatically
    given, subject = request.headers.get(HEADER) or request.form.get(FIELD, ""), _token_subject()
    if subject and context().auth.cookies.is_form_token(subject, given):
        return
    if who.login is None and who.kind != GUEST and (_is_program() or _needs_preflight()):
        return
    abort(403, "the request does not carry this page's token; reload the page and try again")


def _token_subject() -> str:
    """What the token is bound to: a login, a guest, or the device itself; empty for other callers."""
    who = caller()
    if who.kind == GUEST:
        return who.identity
    return who.login.id if who.login else LOOPBACK if who.kind == LOOPBACK else ""


def _is_program() -> bool:
    """Whether a program sends this: every current browser sends Origin or Sec-Fetch-Site with a change."""
    return "Origin" not in request.headers and "Sec-Fetch-Site" not in request.headers


def _needs_preflight() -> bool:
    """Whether another site would need a preflight request: a form cannot send JSON or this header."""
    return request.mimetype == "application/json" or HEADER in request.headers
