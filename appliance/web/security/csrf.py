"""No page of another site changes anything here: what a POST must carry beside its Origin."""

from __future__ import annotations

from flask import abort, request

from appliance.web.security.caller import LOOPBACK, TOKEN, caller
from appliance.web.site import site

HEADER, FIELD = "X-CSRF-Token", "csrf_token"
"""Where the token of the page is expected: with fetch, with a form."""

_SAFE = ("GET", "HEAD", "OPTIONS")


def form_token() -> str:
    """The token for the forms and scripts of the page that is being made, bound to its reader's login.

    Empty for whoever is not known: that of the device itself must not be read from the network.
    """
    reader = _reader()
    return site().auth.cookies.form_token(reader) if reader else ""


def check_token() -> None:
    """Ends a request that changes something and does not carry its page's token with 403."""
    who = caller()
    if request.method in _SAFE or who.kind == TOKEN:
        return  # no browser adds a bearer token by itself
    given, reader = request.headers.get(HEADER) or request.form.get(FIELD, ""), _reader()
    if reader and site().auth.cookies.is_form_token(reader, given):
        return
    if who.login is None and (_is_program() or _needs_preflight()):
        return
    abort(403, "the request does not carry this page's token; reload the page and try again")


def _reader() -> str:
    """What a token is bound to: a login, or the device itself; empty for anybody else."""
    who = caller()
    return who.login.id if who.login else LOOPBACK if who.kind == LOOPBACK else ""


def _is_program() -> bool:
    """Every browser of today names an Origin, or says Sec-Fetch-Site, with whatever changes something."""
    return "Origin" not in request.headers and "Sec-Fetch-Site" not in request.headers


def _needs_preflight() -> bool:
    """Another site's page would have to ask first, and is told no: a form cannot send JSON or this header."""
    return request.mimetype == "application/json" or HEADER in request.headers
