"""Who may do what: each route declares its policy, and every request is checked before its view."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar
from urllib.parse import urlencode

from flask import (
    Flask,
    Response,
    abort,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from appliance.errors import Busy
from appliance.system.addresses import parse_address
from appliance.web.context import context
from appliance.web.proxies import how_to_trust, route_of
from appliance.web.security.caller import (
    ANONYMOUS,
    OPEN,
    Caller,
    caller,
    has_local_token,
    identify_basic,
    identify_guest,
    is_from_this_device,
    is_trusted_loopback,
)
from appliance.web.security.caller import LOCAL as LOCAL_CALLER
from appliance.web.security.csrf import require_csrf_token
from appliance.web.security.hosts import host_refusal, is_device_name, parse_host
from appliance.web.transport.wsgi import CONNECTION

PUBLIC, VIEWER, OPERATOR, LOCAL = "public", "viewer", "operator", "local"
TOKEN, ANALYZE, CAMERA = "token", "analyze", "camera"

ALLOWED = {
    VIEWER: ("viewer", "operator"),
    OPERATOR: ("operator",),
    TOKEN: ("metrics", "operator"),
    ANALYZE: ("analyze", "operator"),
    CAMERA: ("camera", "operator"),
}
"""Which roles each policy admits. `LOCAL` admits no role: it takes the local token."""

_FOR_GUESTS = (ANALYZE, CAMERA)
"""The policies of routes that a guest may call, with the role of the guest's one-time link."""

_NO_LOGIN = (
    "this device has no login and answers only clients on the device itself; for others set"
    " web.trusted_proxies; see docs/proxy.md"
)

_TOKEN_ROLE = {TOKEN: "metrics", ANALYZE: "analyze"}
"""The role that a refused token needs, for the policies with a role of their own."""

_OPERATOR_ONLY = {
    True: "only the operator may do this, on the device itself (127.0.0.1)",
    False: "only the operator may do this, on the device itself (127.0.0.1) with a token of role operator",
}
"""The refusal on a device without login, by whether every caller on loopback is operator."""

View = TypeVar("View", bound=Callable[..., object])

_ATTRIBUTE, _BASIC = "appliance_policy", "appliance_basic"
_READS = ("GET", "HEAD", "OPTIONS")

_HEALTH = "status.healthz"

_OPEN_WHEN_FULL = ("login.login_page", "login.log_in", "static")
"""What anyone gets on a connection over the limit, because it may be an operator's."""


def policy(name: str, *, basic: bool = False) -> Callable[[View], View]:
    """Declare who may call a route: `PUBLIC`, `VIEWER`, `OPERATOR`, `TOKEN`, `ANALYZE`, `CAMERA` or
    `LOCAL`.

    `basic`: a viewer token is also accepted as the password of HTTP Basic. Only for routes that change
    nothing, because browsers send such a password automatically.

    A public view that changes something for a caller with a cookie calls `csrf.require_csrf_token` itself.
    """

    def declare(view: View) -> View:
        setattr(view, _ATTRIBUTE, name)
        setattr(view, _BASIC, basic)
        return view

    return declare


def policy_of(app: Flask, endpoint: str) -> str:
    """The declared policy of an endpoint; static files are public. Raises `LookupError` without one."""
    if endpoint == "static":
        return PUBLIC
    declared = getattr(app.view_functions[endpoint], _ATTRIBUTE, None)
    if declared is None:
        raise LookupError(f"route {endpoint!r} has no policy; declare one with @policy")
    return str(declared)


def takes_basic(app: Flask, endpoint: str) -> bool:
    """Whether an endpoint declares that it accepts HTTP Basic."""
    return bool(getattr(app.view_functions[endpoint], _BASIC, False))


def require_policies(app: Flask) -> None:
    """Raise `LookupError` for a route without a policy, or with HTTP Basic although it changes something."""
    for rule in app.url_map.iter_rules():
        policy_of(app, rule.endpoint)
        if takes_basic(app, rule.endpoint) and not set(rule.methods or ()) <= set(_READS):
            raise LookupError(f"route {rule.endpoint!r} changes something; it must not take HTTP Basic")


def check_request() -> Response | None:
    """Before every view: check Host, rate, Origin, policy, CSRF token. Ends the request with 400 to 429."""
    app_context, route = context(), route_of(request.environ)
    is_health_check = request.endpoint == _HEALTH
    if route.refusal and not (is_health_check or has_local_token(request)):
        app_context.proxies.log_once(route.refusal)
        abort(403, route.refusal)
    is_own = is_device_name(
        parse_host(request.host),
        app_context.network.allowed_hosts,
        network=app_context.network.reachable or route.is_forwarded,
    )
    if not is_own and not (is_health_check and _has_no_name()):
        return _refuse_host()
    if not (is_trusted_loopback(request) or has_local_token(request)):
        app_context.auth.request_rates.take(request.remote_addr or "")
    upgrades = request.headers.get("Upgrade", "").lower() == "websocket"
    changes = upgrades or request.method not in _READS
    if changes and not _same_origin():
        _refuse_other_site()
    connection = request.environ.get(CONNECTION)
    if connection is not None and connection.is_over_limit:
        _refuse_unless_operator()
    if request.endpoint is None:
        return None
    needed = policy_of(current_app, request.endpoint)
    if needed == PUBLIC:
        return None
    if takes_basic(current_app, request.endpoint):
        identify_basic()
    who = caller()
    if needed in _FOR_GUESTS and who.role not in ALLOWED[needed]:
        guest = identify_guest()
        if guest.role in ALLOWED[needed]:
            g.caller = who = guest
    if connection is not None and who.kind not in (OPEN, ANONYMOUS):
        connection.role = who.role
    if who.kind != LOCAL_CALLER if needed == LOCAL else who.role not in ALLOWED[needed]:
        return _refuse(who, needed)
    require_csrf_token()
    return None


def _refuse_unless_operator() -> None:
    if request.endpoint in _OPEN_WHEN_FULL:
        return
    who = caller()
    if not (who.is_operator or who.kind == LOCAL_CALLER):
        raise Busy("too many connections; close another page or try again soon")


def _refuse_host() -> Response:
    if not _wants_page():
        abort(400, host_refusal(request.host))
    network = context().network.reachable
    return make_response(render_template("unknown_host.html", host=request.host, network=network), 400)


def _wants_page() -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def _refuse(who: Caller, needed: str) -> Response:
    if who.kind == ANONYMOUS:
        if not context().auth.login and not is_from_this_device(request):
            abort(403, _NO_LOGIN)
        if _wants_page():
            return _redirect_to_login()
        raise _not_logged_in()
    if needed in _TOKEN_ROLE:
        role = _TOKEN_ROLE[needed]
        abort(
            403,
            f"expected a token of role {role} or operator: interview-grader token create NAME --role {role}",
        )
    if needed == LOCAL:
        abort(403, "only root and the service may read this; run sudo interview-grader status --json")
    if not context().auth.login:
        abort(403, _OPERATOR_ONLY[context().auth.loopback_is_operator])
    abort(403, f"only the operator may do this; you are {who.actor}")


def _redirect_to_login() -> Response:
    wanted = urlencode({"next": request.root_path + request.full_path.rstrip("?")})
    login = url_for("login.login_page")
    answer = redirect(f"{login}?{wanted}" if request.path != "/" else login, 303)
    assert isinstance(answer, Response)
    return answer


def _not_logged_in() -> Unauthorized:
    # With a space, so that it is sent in quotes, as RFC 9110 wants.
    realm: dict[str, str | None] = {"realm": "Interview Grader"}
    challenges = [WWWAuthenticate("bearer", realm)]  # browsers show no dialog for bearer
    basic = takes_basic(current_app, request.endpoint or "") and not _is_browser()
    if basic:
        challenges.insert(0, WWWAuthenticate("basic", realm))
    otherwise = ", or a viewer token as the password of HTTP Basic" if basic else ""
    return Unauthorized(
        f"log in first: open /login, or send the header Authorization: Bearer TOKEN{otherwise}",
        www_authenticate=challenges,
    )


def _is_browser() -> bool:
    """Whether a browser sends this: it would answer a challenge for Basic with its own dialog."""
    return "Sec-Fetch-Site" in request.headers or request.user_agent.string.startswith("Mozilla/")


def _has_no_name() -> bool:
    """Whether the Host is missing or an address, as in the checks of load balancers."""
    host = request.headers.get("Host", "")
    return not host or parse_address(parse_host(host) or "") is not None


def _refuse_other_site() -> NoReturn:
    route = route_of(request.environ)
    reason = "the request comes from a page of another site; open this device's own page"
    if route.is_forwarded:
        own = f"{request.scheme.replace('ws', 'http')}://{request.host}"
        abort(403, f"{reason}, which is {own} if X-Forwarded-Proto and -Host of the proxy are right")
    hint = f"if a proxy at {route.peer} is in front of it, {how_to_trust(route.peer)}"
    context().proxies.log_once(f"a page of another site was refused; {hint}")
    abort(403, f"{reason}; {hint}")


def _same_origin() -> bool:
    origin = request.headers.get("Origin")
    # Browsers send it with every such request from another site; programs may leave it out.
    if origin is None:
        return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")
    if origin == "null" and request.headers.get("Sec-Fetch-Site") == "same-origin":
        return True  # a form of our own page: it sends no referrer, so browsers hide the Origin too
    return origin.lower() == f"{request.scheme.replace('ws', 'http')}://{request.host}".lower()
