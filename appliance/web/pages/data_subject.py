"""The page of the data subject: the holder of a session's personal link may withdraw, without an account."""

from __future__ import annotations

from flask import Blueprint, Response, abort, make_response, render_template, request

from appliance import __version__
from appliance.web.api.describe import HTML, PDF, describe
from appliance.web.api.models import Problem
from appliance.web.context import context
from appliance.web.pages.recordings import export_response
from appliance.web.security.policy import PUBLIC, policy

blueprint = Blueprint("data_subject", __name__, url_prefix="/mine")

ACTOR = "link"
"""The holder of a personal link, in the audit log."""


@blueprint.get("/<token>")
@policy(PUBLIC)
@describe({200: HTML, 404: HTML})
def data_subject_page(token: str) -> Response:
    """What is stored of the session, and a button to withdraw; 404 for an unknown or erased link."""
    id = _session_id(token)
    if id is None:
        return _unknown_link()
    answer = _render(token=token, state=_state_of(id), recorded=_is_recorded(id))
    # Without a referrer, browsers send a form's Origin as "null", which is refused.
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


@blueprint.post("/<token>")
@policy(PUBLIC)
@describe({200: HTML, 404: HTML, 507: Problem})
def withdraw(token: str) -> Response:
    """End the session if it is running, and erase everything recorded of it."""
    id = _session_id(token)
    if id is None:
        return _unknown_link()
    context().session.withdraw(ACTOR, id)
    return _render(token=token, state="withdrawn")


@blueprint.get("/<token>/copy.<any(csv, json, pdf):kind>")
@policy(PUBLIC)
@describe({200: PDF, 404: Problem, 503: Problem})
def download_copy(token: str, kind: str) -> Response:
    """The person's copy of what was recorded, as csv, json or pdf; 404 for an unknown or erased link.

    404 also if nothing was recorded, 429 after six copies in an hour, 503 while another copy is being made.
    """
    id = _session_id(token)
    session = context().store.session(id) if id else None
    if session is None:
        abort(
            404,
            "nothing is stored here: it was already erased, nothing was recorded, or the link is incomplete",
        )
    return export_response(session, kind, ACTOR, by_link=True)


def _session_id(token: str) -> str | None:
    address = request.remote_addr or ""
    context().auth.link_attempts.begin(address)
    id = context().session.find_link(token)
    if id is not None:
        context().auth.link_attempts.undo(
            address
        )  # a valid link does not count, but leaves earlier wrong attempts counted
    return id


def _state_of(id: str) -> str:
    now = context().session.snapshot
    return now.state if now.info and now.info.id == id else "ended"


def _is_recorded(id: str) -> bool:
    return context().store.session(id) is not None


def _unknown_link() -> Response:
    return _render(token="", state="unknown", status=404)


def _render(*, token: str, state: str, status: int = 200, recorded: bool = False) -> Response:
    shown = render_template(
        "data_subject.html", version=__version__, token=token, state=state, recorded=recorded
    )
    return make_response(shown, status)
