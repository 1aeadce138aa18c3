"""Logging in and out, and setting the operator's password with the first code."""

from __future__ import annotations

import math

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request, url_for

from appliance import __version__
from appliance.auth.accounts import OPERATOR
from appliance.auth.cookies import Login, cookie_name
from appliance.errors import AccessError, TooManyAttempts
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import LoginForm, NextQuery, Problem
from appliance.web.context import context
from appliance.web.proxies import route_of
from appliance.web.security.caller import LOGIN, caller
from appliance.web.security.csrf import require_csrf_token
from appliance.web.security.policy import PUBLIC, policy

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
@policy(PUBLIC)
@describe({200: HTML, 303: None}, query=NextQuery)
def login_page() -> Response:
    """The login form; redirects a caller who is logged in."""
    if caller().role:
        return _redirect_to_next()
    return _render_form()


@blueprint.post("/login")
@policy(PUBLIC)
@describe({303: None, 400: HTML, 401: HTML, 409: Problem, 415: Problem, 429: HTML}, form=LoginForm)
def log_in() -> Response:
    """Log in with name and password, or with the first code and a new password.

    401 for wrong ones, 429 for too many attempts.
    """
    if not context().auth.login:
        abort(
            409,
            "login is off: this address is reachable only from the device itself, or from an open network",
        )
    if route_of(request.environ).is_forwarded and not request.is_secure:
        abort(403, "a login needs https: let the proxy take https, and send X-Forwarded-Proto: https")
    if request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        abort(415, "expected a form with name and password, or with code, password and repeat")
    address, fields = request.remote_addr or "", request.form
    if "code" in fields and fields.get("password", "") != fields.get("repeat", ""):
        return _render_form(
            "The two passwords do not match.", 400
        )  # before the code is checked: this answer must reveal nothing about it
    tries, account = context().auth.login_attempts, _account_to_limit()
    try:
        tries.begin(address, account)
    except TooManyAttempts as error:
        return _too_many_tries(error)
    try:
        name = _claim_first_code() if "code" in request.form else _check_password()
    except AccessError as error:
        tries.succeeded(address, account)  # the code is right, the new password is invalid
        return _render_form(error.reason, 400)
    except TooManyAttempts as error:
        tries.undo(address, account)  # nothing was checked
        return _too_many_tries(error)
    if not name:
        return _render_form(_wrong_credentials(), 401)
    tries.succeeded(address, account)
    return start_login(name, _redirect_to_next())


@blueprint.get("/logout")
@policy(PUBLIC)
@describe({200: HTML, 303: None})
def logout_page() -> Response:
    """A page with a button to log out: opening a link must not log anyone out."""
    if caller().kind != LOGIN:
        return _redirect(url_for("login.login_page"))
    return make_response(render_template("logout.html", version=__version__))


@blueprint.post("/logout")
@policy(PUBLIC)
@describe({303: None})
def log_out() -> Response:
    """End this login, also for copies of its cookie."""
    who = caller()
    if who.login is not None:
        require_csrf_token()
        context().audit.record("logout", who.actor, name=who.name)
        context().auth.accounts.end_login(who.login.id, context().auth.cookies.longest_s)
    g.logged_out = True
    answer = _redirect(url_for("login.login_page"))
    name, path = _cookie_place()
    answer.delete_cookie(name, path=path, secure=True, httponly=True, samesite="Strict")
    return answer


def start_login(name: str, answer: Response) -> Response:
    """Log an account in: this answer sets the cookie."""
    auth = context().auth
    login = auth.cookies.begin(name, auth.accounts.epoch(name))
    g.logged_out = True  # do not renew the cookie of this request
    _set_cookie(answer, login)
    return answer


def renew_cookie(response: Response) -> Response:
    """After every request with a login: renew a cookie that is not new."""
    login = g.caller.login if "caller" in g else None
    if login is not None and "logged_out" not in g and context().auth.cookies.is_due(login):
        _set_cookie(response, login)
    return response


def _set_cookie(response: Response, login: Login) -> None:
    text = context().auth.cookies.text(login)
    name, path = _cookie_place()
    response.set_cookie(name, text, path=path, secure=True, httponly=True, samesite="Strict")


def _cookie_place() -> tuple[str, str]:
    """Name and path of the cookie."""
    return cookie_name(request.root_path), f"{request.root_path}/"


def _too_many_tries(error: TooManyAttempts) -> Response:
    answer = _render_form(str(error), 429)
    answer.headers["Retry-After"] = str(math.ceil(error.wait_s))
    return answer


def _account_to_limit() -> str:
    """The account whose tries count; "" for a name that does not exist."""
    name = OPERATOR if "code" in request.form else _name_given()
    return name if name in context().auth.accounts.roles() else ""


def _name_given() -> str:
    return request.form.get("name", "").strip().lower()


def _check_password() -> str:
    name, password = _name_given(), request.form.get("password", "")
    accounts, audit = context().auth.accounts, context().audit
    if accounts.check(name, password):
        audit.record("login", accounts.roles()[name], name=name, address=request.remote_addr)
        return name
    # An unknown name may be a password in the wrong field: it is not logged.
    audit.record(
        "login_failed",
        "unknown",
        name=name if name in accounts.roles() else None,
        address=request.remote_addr,
    )
    return ""


def _claim_first_code() -> str:
    audit = context().audit
    code, password = request.form["code"], request.form.get("password", "")
    if context().auth.accounts.claim(code, password):
        audit.record(
            "access", OPERATOR, what="operator password set with the first code", address=request.remote_addr
        )
        audit.record("login", OPERATOR, name=OPERATOR, address=request.remote_addr)
        return OPERATOR
    audit.record("login_failed", "unknown", name="first code", address=request.remote_addr)
    return ""


def _wrong_credentials() -> str:
    if "code" in request.form:
        return "This is not the first code. Each start makes a new one; use the newest in the log."
    return "Name or password is wrong."


def _render_form(problem: str = "", status: int = 200) -> Response:
    auth = context().auth
    page = render_template(
        "login.html",
        version=__version__,
        problem=problem,
        first=auth.login and not auth.accounts.has_operator(),
        viewers=len(auth.accounts.roles()) > 0,
        name=request.form.get("name", OPERATOR)[:32],
        next=_next_path(),
    )
    return make_response(page, status)


def _next_path() -> str:
    """The path to redirect to, with the prefix: only one of this device."""
    home = url_for("live.live_page")
    wanted = request.values.get("next", home)
    bare = wanted.startswith(home) and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if bare and "\\" not in wanted else home


def _redirect_to_next() -> Response:
    return _redirect(_next_path())


def _redirect(path: str) -> Response:
    answer = redirect(path, 303)
    assert isinstance(answer, Response)
    return answer
