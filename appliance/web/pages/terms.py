"""The terms of consent: the notice as a page to print, and the jurisdiction: region, purpose, institution."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, render_template, url_for

from appliance import __version__
from appliance.consent.law import Institution, Purpose, Region
from appliance.web.addresses import device_url, qr_code
from appliance.web.api.bodies import RequestBody, json_answer, parse_body
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import NoticeVersion, Problem, Settled
from appliance.web.context import context
from appliance.web.security.caller import caller
from appliance.web.security.policy import OPERATOR, VIEWER, policy

blueprint = Blueprint("terms", __name__)


class LawfulRequest(RequestBody):
    """The body of `/api/lawful`."""

    region: Region
    purpose: Purpose
    institution: Literal["", Institution] = ""


@blueprint.post("/api/lawful")
@policy(OPERATOR)
@describe({200: Settled, 409: Problem, 415: Problem, 507: Problem}, body=LawfulRequest)
def set_jurisdiction() -> Response:
    """Set region, purpose and institution; in force at once and after a restart.

    `institution` is needed only in the EU. 409 during a session, and if the configuration sets one of them.
    """
    wanted = parse_body(LawfulRequest, '{"region": "EU", "purpose": "practice", "institution": "none"}')
    session = context().session
    session.set_jurisdiction(wanted.region, wanted.purpose, caller().actor, wanted.institution)
    terms = session.terms
    return json_answer(Settled(refusal=terms.refusal, notice=NoticeVersion(version=terms.notice.version)))


@blueprint.get("/notice")
@policy(VIEWER)
@describe({200: HTML})
def notice_page() -> str:
    """The notice in force, to print, with the QR code of this device."""
    address = device_url(url_for("live.live_page"))
    return render_template(
        "notice.html",
        version=__version__,
        notice=context().session.terms.notice,
        address=address,
        qr=qr_code(address),
    )
