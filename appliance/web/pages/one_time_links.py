"""One-time links: an operator shows one as a QR code, and a phone that opens it may use one page."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, current_app, make_response, redirect, render_template, request, url_for

from appliance import __version__
from appliance.auth.cookies import cookie_name
from appliance.auth.one_time_links import GUEST_S, LINK_S
from appliance.errors import StateConflict
from appliance.web.addresses import device_url, qr_code
from appliance.web.api.bodies import RequestBody, json_answer, parse_body
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import OneTimeLink, Problem
from appliance.web.context import context
from appliance.web.security.caller import caller
from appliance.web.security.policy import OPERATOR, PUBLIC, policy

blueprint = Blueprint("one_time_links", __name__)

_ENDPOINTS = {"camera": "camera.camera_page", "webcam": "webcam.webcam_page"}


class LinkRequest(RequestBody):
    """The body of `/api/link`."""

    page: Literal["camera", "webcam"]


@blueprint.post("/api/link")
@policy(OPERATOR)
@describe({200: OneTimeLink, 409: Problem, 415: Problem}, body=LinkRequest)
def create_link() -> Response:
    """A link that opens one page on one phone without an account, and its QR code; it works once."""
    page, app_context, maker = parse_body(LinkRequest, '{"page": "camera"}').page, context(), caller()
    if page == "camera" and app_context.ingest is None:
        raise StateConflict(
            f'the camera of this device is {app_context.device.source}; set camera.backend = "browser" first'
        )
    if page not in linkable_pages():
        raise StateConflict(f"this device has no page /{page}")
    if app_context.network.reachable and not request.is_secure:
        raise StateConflict("browsers open a camera only on pages with https, and this one is on plain http")
    token = app_context.auth.one_time_links.create(page, lambda: maker.has_role(app_context.auth))
    app_context.audit.record("access", maker.actor, what=f"one-time link to /{page} made")
    address = device_url(url_for("one_time_links.link_page", token=token))
    return json_answer(OneTimeLink(link=address, qr=qr_code(address), seconds=round(LINK_S)))


@blueprint.get("/link/<token>")
@policy(PUBLIC)
@describe({200: HTML, 404: HTML})
def link_page(token: str) -> Response:
    """A button that uses the link; 404 for one that was used or has ended.

    Opening this page uses nothing: cameras of phones and messengers look at addresses in advance.
    """
    app_context, address = context(), request.remote_addr or ""
    app_context.auth.link_attempts.begin(address)
    page = app_context.auth.one_time_links.find_page(token)
    if page is None:
        return _render("", "", 404)
    app_context.auth.link_attempts.undo(address)
    answer = _render(page, token)
    # Without a referrer, browsers send a form's Origin as "null", which is refused.
    answer.headers["Referrer-Policy"] = "same-origin"
    return answer


@blueprint.post("/link/<token>")
@policy(PUBLIC)
@describe({303: None, 404: HTML})
def use_link(token: str) -> Response:
    """Use the link: this browser gets a cookie for its page, which it is redirected to."""
    app_context, address = context(), request.remote_addr or ""
    app_context.auth.link_attempts.begin(address)
    used = app_context.auth.one_time_links.redeem(token)
    if used is None:
        return _render("", "", 404)
    app_context.auth.link_attempts.undo(address)
    page, secret = used
    app_context.audit.record(
        "access", f"guest:{page}", what=f"one-time link to /{page} used", address=address
    )
    answer = redirect(url_for(_ENDPOINTS[page]), 303)
    assert isinstance(answer, Response)
    answer.set_cookie(
        cookie_name(request.root_path, guest=True),
        secret,
        max_age=round(GUEST_S),
        path=f"{request.root_path}/",
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    return answer


def linkable_pages() -> list[str]:
    """The pages that a link can open on this device now."""
    is_there = {"camera": context().ingest is not None, "webcam": True}
    return [
        page for page, view in _ENDPOINTS.items() if is_there[page] and view in current_app.view_functions
    ]


def _render(page: str, token: str, status: int = 200) -> Response:
    shown = render_template("one_time_link.html", version=__version__, page=page, token=token)
    return make_response(shown, status)
