"""No page of another site changes anything here: what a POST must carry beside its Origin."""

from __future__ import annotations

import hmac

from flask import abort, request

from appliance.web.caller import LOOPBACK, TOKEN, caller
from appliance.web.site import site

HEADER, FIELD = "X-CSRF-Token", "csrf_token"
"""Where the token of the page is expected: with fetch, with a form."""

_SAFE = ("GET", "HEAD", "OPTIONS")


def form_token() -> str:
    """The token for the forms and scripts of the page that is being made, bound to its reader's login."""
    login = caller().login
    return site().gate.cookies.form_token(login.id if login else LOOPBACK)


def check_token() -> None:
    """Ends a request that changes something and does not carry its page's token with 403."""
    who = caller()
    if request.method in _SAFE or who.kind == TOKEN:
        return  # no browser adds a bearer token by itself
    given = request.headers.get(HEADER) or request.form.get(FIELD, "")
    if hmac.compare_digest(given.encode(), form_token().encode()):
        return
    if who.login is None and (_is_program() or _needs_preflight()):
        return
    abort(403, "the request does not carry this page's token; reload the page and try again")


def _is_program() -> bool:
    """Every browser of today names an Origin, or says Sec-Fetch-Site, with whatever changes something."""
    return "Origin" not in request.headers and "Sec-Fetch-Site" not in request.headers


def _needs_preflight() -> bool:
    """Another site's page would have to ask first, and is told no: a form cannot send JSON or this header."""
    return request.mimetype == "application/json" or HEADER in request.headers
