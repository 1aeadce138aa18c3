"""Logging in and out, and the first code with which the operator's password is set."""

from __future__ import annotations

import math

from flask import Blueprint, Response, abort, g, make_response, redirect, render_template, request

from appliance import __version__
from appliance.auth.accounts import OPERATOR
from appliance.auth.cookies import NAME, Login
from appliance.errors import AccessError, TooManyAttempts
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import LoginForm, NextQuery, Problem
from appliance.web.security.audited import note
from appliance.web.security.caller import LOGIN, caller
from appliance.web.security.csrf import check_token
from appliance.web.security.policy import PUBLIC, policy
from appliance.web.site import site

blueprint = Blueprint("login", __name__)


@blueprint.get("/login")
@policy(PUBLIC)
@describe({200: HTML, 303: None}, query=NextQuery)
def page() -> Response:
    """The form; whoever is let in already is sent on."""
    if caller().role:
        return _sent_on()
    return _form()


@blueprint.post("/login")
@policy(PUBLIC)
@describe({303: None, 400: HTML, 401: HTML, 409: Problem, 415: Problem, 429: HTML}, form=LoginForm)
def enter() -> Response:
    """Name and password, or the first code and a new password. Wrong ones are 401, too many are 429."""
    if not site().auth.login:
        abort(
            409, "there is no login here: only this device itself, or an open network, can reach this address"
        )
    if request.mimetype not in ("application/x-www-form-urlencoded", "multipart/form-data"):
        abort(415, "expected a form with name and password, or with code, password and repeat")
    address, fields = request.remote_addr or "", request.form
    if "code" in fields and fields.get("password", "") != fields.get("repeat", ""):
        return _form(
            "The two passwords are not the same.", 400
        )  # before the code is looked at: it tells nothing
    tries, account = site().auth.login_attempts, _account()
    try:
        tries.begin(address, account)
    except TooManyAttempts as error:
        return _later(error)
    try:
        name = _first() if "code" in request.form else _known()
    except AccessError as error:
        tries.succeeded(address, account)  # the code was right, the new password is not one
        return _form(error.reason, 400)
    except TooManyAttempts as error:
        tries.undo(address, account)  # its turn did not come: nothing was checked
        return _later(error)
    if not name:
        return _form(_wrong(), 401)
    tries.succeeded(address, account)
    return begin(name, _sent_on())


@blueprint.get("/logout")
@policy(PUBLIC)
@describe({200: HTML, 303: None})
def leaving() -> Response:
    """A page that asks, since a link alone must log nobody out."""
    if caller().kind != LOGIN:
        return _redirect("/login")
    return make_response(render_template("logout.html", version=__version__))


@blueprint.post("/logout")
@policy(PUBLIC)
@describe({303: None})
def leave() -> Response:
    """This login ends, here and for whoever has a copy of its cookie."""
    who = caller()
    if who.login is not None:
        check_token()
        note("logout", name=who.name)
        site().auth.accounts.end_login(who.login.id, site().auth.cookies.longest_s)
    g.logged_out = True
    answer = _redirect("/login")
    answer.delete_cookie(NAME, path="/", secure=True, httponly=True, samesite="Strict")
    return answer


def begin(name: str, answer: Response) -> Response:
    """Log an account in with this answer."""
    auth = site().auth
    login = auth.cookies.begin(name, auth.accounts.epoch(name))
    g.logged_out = True  # a cookie that came with the request is not renewed
    _give(answer, login)
    return answer


def renew(response: Response) -> Response:
    """After every request of a login: a cookie that was made a while ago is made anew."""
    login = g.caller.login if "caller" in g else None
    if login is not None and "logged_out" not in g and site().auth.cookies.is_due(login):
        _give(response, login)
    return response


def _give(response: Response, login: Login) -> None:
    text = site().auth.cookies.text(login)
    response.set_cookie(NAME, text, path="/", secure=True, httponly=True, samesite="Strict")


def _later(error: TooManyAttempts) -> Response:
    answer = _form(str(error), 429)
    answer.headers["Retry-After"] = str(math.ceil(error.wait_s))
    return answer


def _account() -> str:
    """The account that this form is for; "" for a name that does not exist."""
    name = OPERATOR if "code" in request.form else _name()
    return name if name in site().auth.accounts.roles() else ""


def _name() -> str:
    return request.form.get("name", "").strip().lower()


def _known() -> str:
    name, password = _name(), request.form.get("password", "")
    accounts = site().auth.accounts
    if accounts.check(name, password):
        note("login", accounts.roles()[name], name=name, address=request.remote_addr)
        return name
    # A name that is not known may be a password in the wrong field.
    note(
        "login_failed",
        "unknown",
        name=name if name in accounts.roles() else None,
        address=request.remote_addr,
    )
    return ""


def _first() -> str:
    code, password = request.form["code"], request.form.get("password", "")
    if site().auth.accounts.claim(code, password):
        note(
            "access", OPERATOR, what="operator password set with the first code", address=request.remote_addr
        )
        note("login", OPERATOR, name=OPERATOR, address=request.remote_addr)
        return OPERATOR
    note("login_failed", "unknown", name="first code", address=request.remote_addr)
    return ""


def _wrong() -> str:
    if "code" in request.form:
        return "This is not the first code. Each start makes a new one; the newest stands last in the log."
    return "Name or password is wrong."


def _form(problem: str = "", status: int = 200) -> Response:
    auth = site().auth
    page = render_template(
        "login.html",
        version=__version__,
        problem=problem,
        first=auth.login and not auth.accounts.has_operator(),
        viewers=len(auth.accounts.roles()) > 0,
        name=request.form.get("name", OPERATOR)[:32],
        next=_next(),
    )
    return make_response(page, status)


def _next() -> str:
    """Where to go afterwards: a path of this device and nothing else."""
    wanted = request.values.get("next", "/")
    bare = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if bare and "\\" not in wanted else "/"


def _sent_on() -> Response:
    return _redirect(_next())


def _redirect(path: str) -> Response:
    answer = redirect(path, 303)
    assert isinstance(answer, Response)
    return answer
