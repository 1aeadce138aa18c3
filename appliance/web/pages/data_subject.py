"""The person's one-time link: whoever has it may withdraw, without an account, until everything is erased."""

from __future__ import annotations

from flask import Blueprint, Response, abort, make_response, render_template, request

from appliance import __version__
from appliance.web.api.describe import HTML, PDF, describe
from appliance.web.api.models import Problem
from appliance.web.pages.history import download
from appliance.web.security.policy import PUBLIC, policy
from appliance.web.site import site

blueprint = Blueprint("mine", __name__, url_prefix="/mine")

WHO = "link"


@blueprint.get("/<token>")
@policy(PUBLIC)
@describe({200: HTML, 404: HTML})
def page(token: str) -> Response:
    """What is kept of the session, and the button that withdraws; 404 for an unknown or erased one."""
    id = _known(token)
    if id is None:
        return _gone()
    answer = _page(token=token, state=_state_of(id), recorded=_is_recorded(id))
    # With no referrer at all a form's Origin is "null", which is refused. Nothing leaves this device.
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


@blueprint.post("/<token>")
@policy(PUBLIC)
@describe({200: HTML, 404: HTML, 507: Problem})
def withdraw(token: str) -> Response:
    """End the session if it still goes on, and erase everything recorded of it."""
    id = _known(token)
    if id is None:
        return _gone()
    site().session.withdraw(WHO, id)
    return _page(token=token, state="withdrawn")


@blueprint.get("/<token>/copy.<any(csv, json, pdf):kind>")
@policy(PUBLIC)
@describe({200: PDF, 404: Problem, 503: Problem})
def copy(token: str, kind: str) -> Response:
    """The person's own copy of what was recorded; 404 for an unknown or erased link, or if nothing was.

    429 after six in an hour, 503 while another copy is made.
    """
    id = _known(token)
    session = site().store.session(id) if id else None
    if session is None:
        abort(
            404,
            "nothing is kept here: it was erased already, nothing was recorded, or the link is incomplete",
        )
    return download(session, kind, WHO, by_link=True)


def _known(token: str) -> str | None:
    address = request.remote_addr or ""
    site().auth.link_attempts.begin(address)
    id = site().session.find_link(token)
    if id is not None:
        site().auth.link_attempts.undo(address)  # one link that is right allows no guessing at others
    return id


def _state_of(id: str) -> str:
    now = site().session.now
    return now.state if now.sitting and now.sitting.id == id else "ended"


def _is_recorded(id: str) -> bool:
    return site().store.session(id) is not None


def _gone() -> Response:
    return _page(token="", state="unknown", status=404)


def _page(*, token: str, state: str, status: int = 200, recorded: bool = False) -> Response:
    shown = render_template("mine.html", version=__version__, token=token, state=state, recorded=recorded)
    return make_response(shown, status)
