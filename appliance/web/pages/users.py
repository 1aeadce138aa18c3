"""The page of users: the operator adds viewers, changes passwords and revokes tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from flask import Blueprint, Response, make_response, redirect, render_template, request, url_for
from pydantic import BaseModel, Field

from appliance import __version__
from appliance.auth.accounts import NAME_PATTERN, OPERATOR
from appliance.auth.passwords import LONGEST, SHORTEST
from appliance.errors import AccessError, TooManyAttempts, WrongPassword
from appliance.web.api.describe import HTML, Content, describe
from appliance.web.api.statuses import STATUS
from appliance.web.context import context
from appliance.web.pages.login import start_login
from appliance.web.security import policy as policies
from appliance.web.security.caller import caller
from appliance.web.security.policy import policy

blueprint = Blueprint("users", __name__, url_prefix="/access")

_ANSWERS: dict[int, Content] = {303: None, 400: HTML}
_NAMED: dict[int, Content] = {**_ANSWERS, 404: HTML}

_Name = Annotated[str, Field(pattern=f"^{NAME_PATTERN}$")]
_NewPassword = Annotated[str, Field(min_length=SHORTEST, max_length=LONGEST)]


class NameForm(BaseModel):
    """An account or a token by name."""

    name: _Name


class AccountForm(BaseModel):
    """A viewer by name, and its new password."""

    name: _Name
    password: _NewPassword


class PasswordForm(BaseModel):
    """The operator's own new password, twice."""

    current: str
    password: _NewPassword
    repeat: _NewPassword


_MESSAGES = {
    "added": "The viewer can log in now.",
    "removed": "The viewer is removed and logged out.",
    "password": "The password is changed. Every login with the old password has ended.",
    "out": "Logged out everywhere else.",
    "revoked": "The token is revoked.",
}


@blueprint.get("")
@policy(policies.OPERATOR)
@describe({200: HTML})
def users_page() -> Response:
    """Accounts and tokens."""
    return _render()


@blueprint.post("/add")
@policy(policies.OPERATOR)
@describe({**_ANSWERS, 409: HTML}, form=AccountForm)
def add_viewer() -> Response:
    """Add a viewer: `name`, `password`."""
    return _change("added", lambda: context().auth.accounts.add_viewer(_field("name"), _field("password")))


@blueprint.post("/remove")
@policy(policies.OPERATOR)
@describe(_NAMED, form=NameForm)
def remove_viewer() -> Response:
    """Remove the viewer `name`."""
    return _change("removed", lambda: context().auth.accounts.remove(_field("name")))


@blueprint.post("/viewer-password")
@policy(policies.OPERATOR)
@describe(_NAMED, form=AccountForm)
def set_viewer_password() -> Response:
    """Set the `password` of the viewer `name`."""

    def change() -> None:
        if _field("name") == OPERATOR:
            raise AccessError("the operator's password needs the current one; use the operator's form")
        context().auth.accounts.set_password(_field("name"), _field("password"))

    return _change("password", change)


@blueprint.post("/password")
@policy(policies.OPERATOR)
@describe({**_ANSWERS, 403: HTML}, form=PasswordForm)
def set_own_password() -> Response:
    """Set the operator's own password: `current`, `password`, `repeat`. Ends their other logins."""
    auth, address = context().auth, request.remote_addr or ""

    def change() -> None:
        auth.login_attempts.begin(address, OPERATOR)
        try:
            is_right = auth.accounts.check(OPERATOR, _field("current"))
        except TooManyAttempts:
            auth.login_attempts.undo(address, OPERATOR)  # nothing was checked
            raise
        if not is_right:
            raise WrongPassword("the current password is wrong")
        auth.login_attempts.succeeded(address, OPERATOR)
        if _field("password") != _field("repeat"):
            raise AccessError("the two new passwords do not match")
        auth.accounts.set_password(OPERATOR, _field("password"))

    answer = _change("password", change, OPERATOR)
    return start_login(OPERATOR, answer) if answer.status_code == 303 and caller().login else answer


@blueprint.post("/log-out-everywhere")
@policy(policies.OPERATOR)
@describe(_NAMED)
def end_other_logins() -> Response:
    """End every login of the operator except this one."""
    answer = _change("out", lambda: context().auth.accounts.end_logins(OPERATOR), OPERATOR)
    return start_login(OPERATOR, answer) if answer.status_code == 303 and caller().login else answer


@blueprint.post("/revoke")
@policy(policies.OPERATOR)
@describe(_NAMED, form=NameForm)
def revoke_token() -> Response:
    """Revoke the token `name`."""
    return _change("revoked", lambda: context().auth.tokens.revoke(_field("name")))


def _field(name: str) -> str:
    text = request.form.get(name)
    if text is None:
        raise AccessError(f"the form has no {name!r}; use the forms of this page")
    return text.strip() if name == "name" else text


def _change(what: str, make: Callable[[], None], name: str = "") -> Response:
    """Make a change, write it to the audit log, and go back to the page; a refusal shows its reason there."""
    try:
        make()
    except AccessError as error:
        return _render(str(error), STATUS[type(error)])
    context().audit.record("access", caller().actor, what=what, name=name or _field("name"))
    answer = redirect(url_for("users.users_page", done=what), 303)
    assert isinstance(answer, Response)
    return answer


def _render(problem: str = "", status: int = 200) -> Response:
    auth = context().auth
    page = render_template(
        "users.html",
        version=__version__,
        problem=problem,
        done=_MESSAGES.get(request.args.get("done", ""), ""),
        accounts=auth.accounts.roles(),
        tokens=auth.tokens.all(),
        shortest=SHORTEST,
        login=auth.login,
    )
    return make_response(page, status)
