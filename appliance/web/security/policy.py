"""Who may do what: each route declares its policy beside it; every request is checked before its view."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlencode

from flask import Flask, Response, abort, current_app, redirect, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from appliance.web.security.caller import NOBODY, Caller, caller, is_root, is_trusted
from appliance.web.security.csrf import check_token
from appliance.web.security.hosts import is_own, name_in
from appliance.web.site import site

PUBLIC, VIEWER, OPERATOR, TOKEN = "public", "viewer", "operator", "token"

ALLOWED = {
    VIEWER: ("viewer", "operator"),
    OPERATOR: ("operator",),
    TOKEN: ("metrics", "operator"),
}
"""Which roles a policy lets in."""

_WHERE_THE_OPERATOR_IS = {
    True: "only the operator may do this, on the device itself (127.0.0.1)",
    False: "only the operator may do this, on the device itself (127.0.0.1) with a token of role operator",
}
"""What a page without login says, by whether everyone on loopback is operator."""

View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE = "appliance_policy"


def policy(name: str) -> Callable[[View], View]:
    """Declare who may call a route: `PUBLIC`, `VIEWER`, `OPERATOR` or `TOKEN`.

    A public view that changes something for a caller with a cookie calls `csrf.check_token` itself.
    """

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, name)
        return view

    return declare


def policy_of(app: Flask, endpoint: str) -> str:
    """The declared policy of an endpoint; files of the page are public. Raises `LookupError` without one."""
    if endpoint == "static":
        return PUBLIC
    declared = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    if declared is None:
        raise LookupError(f"route {endpoint!r} has no policy; declare one with @policy")
    return str(declared)


def require_policies(app: Flask) -> None:
    """Refuse to start with a route that does not say who may call it."""
    for rule in app.url_map.iter_rules():
        policy_of(app, rule.endpoint)


def check_request() -> Response | None:
    """Before every view: Host, rate, Origin, policy, the page's token. Ends the request with 400 to 429."""
    here = site()
    if not is_own(name_in(request.host), here.allowed_hosts, network=here.on_network):
        abort(
            400,
            f"Host {request.host!r} is not a name of this device; use its address, or add web.allowed_hosts",
        )
    if not (is_trusted(request) or is_root(request)):
        here.auth.request_rates.take(request.remote_addr or "")
    upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
    changes = upgrades or request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and not _same_origin():
        abort(403, "the request comes from a page of another site; open this device's own page")
    if request.endpoint is None:
        return None
    needed = policy_of(current_app, request.endpoint)
    if needed == PUBLIC:
        return None
    who = caller()
    if who.role not in ALLOWED[needed]:
        return _refuse(who, needed)
    check_token()
    return None


def is_operator() -> bool:
    """Whether the caller may do everything."""
    return caller().role == "operator"


def who() -> str:
    """The caller as the audit log writes it: loopback, operator, viewer or token:NAME."""
    return caller().who()


def _refuse(who: Caller, needed: str) -> Response:
    if who.kind == NOBODY:
        if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
            return _to_login()
        raise _not_logged_in()
    if needed == TOKEN:
        abort(
            403,
            "expected a token of role metrics or operator: interview-grader token create NAME --role metrics",
        )
    if not site().auth.login:
        abort(403, _WHERE_THE_OPERATOR_IS[site().auth.loopback_is_operator])
    abort(403, f"only the operator may do this; you are known as {who.who()}")


def _to_login() -> Response:
    wanted = urlencode({"next": request.full_path.rstrip("?")})
    answer = redirect(f"/login?{wanted}" if request.path != "/" else "/login", 303)
    assert isinstance(answer, Response)
    return answer


def _not_logged_in() -> Unauthorized:
    return Unauthorized(
        "log in first: open /login, or send the header Authorization: Bearer TOKEN",
        www_authenticate=WWWAuthenticate(
            "bearer", {"realm": "interview-grader"}
        ),  # no browser asks on its own
    )


def _same_origin() -> bool:
    origin = request.headers.get("Origin")
    # Browsers send it with every such request from another site; programs need not.
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
    if origin == "null" and request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True  # a form of our own page: since it sends no referrer, browsers hide the Origin too
    return origin.lower() == f"{request.scheme.replace('ws', 'http')}://{request.host}".lower()
