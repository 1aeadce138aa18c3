"""Who may do what: each route declares its policy beside it; every request is checked before its view."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit

from flask import Flask, abort, current_app, request

from appliance.config import is_loopback, parse_address
from appliance.web.site import site

PUBLIC, VIEWER, OPERATOR, TOKEN = "public", "viewer", "operator", "token"

View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE = "appliance_policy"


def policy(name: str) -> Callable[[View], View]:
    """Declare who may call a route: `PUBLIC`, `VIEWER`, `OPERATOR` or `TOKEN`."""

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


def check_request() -> None:
    """Before every view: the Host, the Origin, and the policy. Ends the request with 400 or 403."""
    if not _known_host(_hostname(f"//{request.host}")):
        abort(
            400,
            f"Host {request.host!r} is not a name of this device; use its address, or add web.allowed_hosts",
        )
    upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
    changes = upgrades or request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and not _same_origin():
        abort(403, "the request comes from a page of another site; open this device's own page")
    if request.endpoint is None:
        return
    needed = policy_of(current_app, request.endpoint)
    if needed in (OPERATOR, TOKEN) and not is_operator():
        abort(403, "only the operator may do this, on the device itself (127.0.0.1)")


def is_operator() -> bool:
    """On loopback everybody is operator; without login everybody else is a viewer."""
    return is_loopback(request.remote_addr or "")


def who() -> str:
    """Who makes the current request, for the audit log."""
    return "loopback" if is_operator() else "viewer"


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _known_host(name: str | None) -> bool:
    # DNS rebinding needs a name of the attacker's; an address in digits is none. Off loopback the
    # device is also called by its own names.
    if name is None:
        return False
    if name == "localhost" or name in site().allowed_hosts:
        return True
    if not site().open_to_network:
        return is_loopback(name)
    own = socket.gethostname().lower().partition(".")[0]
    return parse_address(name) is not None or name in (own, f"{own}.local", "interview-grader.local")


def _same_origin() -> bool:
    origin = request.headers.get("Origin")
    # Browsers send it with every such request from another site; programs need not.
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
    return origin.lower() == f"{request.scheme.replace('ws', 'http')}://{request.host}".lower()
