"""The terms: the notice as a page to print, and region, purpose and institution, asked for once."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, jsonify, render_template

from appliance import __version__
from appliance.consent.law import Institution, Purpose, Region
from appliance.web.api.bodies import Body, body
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import Problem, Settled
from appliance.web.pages.links import address_of, qr
from appliance.web.security.policy import OPERATOR, VIEWER, policy, who
from appliance.web.site import site

blueprint = Blueprint("terms", __name__)


class LawfulRequest(Body):
    """The body of `/api/lawful`."""

    region: Region
    purpose: Purpose
    institution: Literal["", Institution] = ""


@blueprint.post("/api/lawful")
@policy(OPERATOR)
@describe({200: Settled, 409: Problem, 415: Problem, 507: Problem}, body=LawfulRequest)
def lawful() -> Response:
    """Say where the device is, what for and who uses it; in force at once and after the next start.

    `institution` is needed in the EU alone. 409 while a session goes on, and where one of them is set in the
    configuration.
    """
    wanted = body(LawfulRequest, '{"region": "EU", "purpose": "practice", "institution": "none"}')
    here = site()
    here.session.set_jurisdiction(wanted.region, wanted.purpose, who(), wanted.institution)
    return jsonify(refusal=here.terms.refusal, notice={"version": here.notice.version})


@blueprint.get("/notice")
@policy(VIEWER)
@describe({200: HTML})
def notice() -> str:
    """The notice in force, to be printed, with the QR code of this device."""
    here = site()
    address = address_of("/")
    return render_template(
        "notice.html", version=__version__, notice=here.notice, address=address, qr=qr(address)
    )
