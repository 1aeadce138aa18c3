"""The page on which the operator makes viewers, changes passwords and revokes tokens."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response, make_response, redirect, render_template, request

from appliance import __version__
from appliance.auth.accounts import OPERATOR
from appliance.auth.passwords import SHORTEST
from appliance.errors import AccessError, TooManyAttempts
from appliance.web.api.describe import HTML, Content, describe
from appliance.web.api.models import AccountForm, NameForm, PasswordForm
from appliance.web.pages.login import begin
from appliance.web.security import policy as policies
from appliance.web.security.audited import note
from appliance.web.security.caller import caller
from appliance.web.security.policy import policy
from appliance.web.site import site

blueprint = Blueprint("access", __name__, url_prefix="/access")

_ANSWERS: dict[int, Content] = {303: None, 400: HTML}

_DONE = {
    "added": "The viewer can log in now.",
    "removed": "The viewer is removed and logged out.",
    "password": "The password is changed. Every login with the old one has ended.",
    "out": "Logged out everywhere else.",
    "revoked": "The token is void.",
}


@blueprint.get("")
@policy(policies.OPERATOR)
@describe({200: HTML})
def page() -> Response:
    """Accounts and tokens."""
    return _page()


@blueprint.post("/add")
@policy(policies.OPERATOR)
@describe(_ANSWERS, form=AccountForm)
def add() -> Response:
    """Make a viewer: `name`, `password`."""
    return _done("added", lambda: site().auth.accounts.add_viewer(_field("name"), _field("password")))


@blueprint.post("/remove")
@policy(policies.OPERATOR)
@describe(_ANSWERS, form=NameForm)
def remove() -> Response:
    """Remove the viewer `name`."""
    return _done("removed", lambda: site().auth.accounts.remove(_field("name")))


@blueprint.post("/viewer-password")
@policy(policies.OPERATOR)
@describe(_ANSWERS, form=AccountForm)
def viewer_password() -> Response:
    """Give the viewer `name` another `password`."""

    def change() -> None:
        if _field("name") == OPERATOR:
            raise AccessError("the operator's own password needs the old one beside the new one")
        site().auth.accounts.set_password(_field("name"), _field("password"))

    return _done("password", change)


@blueprint.post("/password")
@policy(policies.OPERATOR)
@describe(_ANSWERS, form=PasswordForm)
def own_password() -> Response:
    """The operator's own password: `current`, `password`, `repeat`. Ends every other login of theirs."""
    auth, address = site().auth, request.remote_addr or ""

    def change() -> None:
        auth.login_attempts.begin(address, OPERATOR)
        try:
            is_right = auth.accounts.check(OPERATOR, _field("current"))
        except TooManyAttempts:
            auth.login_attempts.undo(address, OPERATOR)  # its turn did not come: nothing was checked
            raise
        if not is_right:
            raise AccessError("the current password is wrong")
        auth.login_attempts.succeeded(address, OPERATOR)
        if _field("password") != _field("repeat"):
            raise AccessError("the two new passwords are not the same")
        auth.accounts.set_password(OPERATOR, _field("password"))

    answer = _done("password", change, OPERATOR)
    return begin(OPERATOR, answer) if answer.status_code == 303 and caller().login else answer


@blueprint.post("/log-out-everywhere")
@policy(policies.OPERATOR)
@describe(_ANSWERS)
def out() -> Response:
    """End every login of the operator but this one."""
    answer = _done("out", lambda: site().auth.accounts.end_logins(OPERATOR), OPERATOR)
    return begin(OPERATOR, answer) if answer.status_code == 303 and caller().login else answer


@blueprint.post("/revoke")
@policy(policies.OPERATOR)
@describe(_ANSWERS, form=NameForm)
def revoke() -> Response:
    """Revoke the token `name`."""
    return _done("revoked", lambda: site().auth.tokens.revoke(_field("name")))


def _field(name: str) -> str:
    text = request.form.get(name)
    if text is None:
        raise AccessError(f"the form lacks {name!r}; use the forms of this page")
    return text.strip() if name == "name" else text


def _done(what: str, change: Callable[[], None], name: str = "") -> Response:
    """Make a change, write it to the audit log, and go back to the page; it says what was wrong (400)."""
    try:
        change()
    except AccessError as error:
        return _page(str(error), 400)
    note("access", what=what, name=name or _field("name"))
    answer = redirect(f"/access?done={what}", 303)
    assert isinstance(answer, Response)
    return answer


def _page(problem: str = "", status: int = 200) -> Response:
    auth = site().auth
    page = render_template(
        "access.html",
        version=__version__,
        problem=problem,
        done=_DONE.get(request.args.get("done", ""), ""),
        accounts=auth.accounts.roles(),
        tokens=auth.tokens.all(),
        shortest=SHORTEST,
        login=auth.login,
    )
    return make_response(page, status)
