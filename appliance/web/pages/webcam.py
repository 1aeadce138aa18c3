"""The page on which a browser's own webcam, a picture or a film is read, without the room's camera."""

from __future__ import annotations

from flask import Blueprint, render_template

from appliance import __version__
from appliance.values import EMOTIONS, LABELS, shown_name
from appliance.web.api.describe import HTML, describe
from appliance.web.context import context
from appliance.web.security.caller import caller
from appliance.web.security.policy import ANALYZE, policy

blueprint = Blueprint("webcam", __name__)


@blueprint.get("/webcam")
@policy(ANALYZE)
@describe({200: HTML})
def webcam_page() -> str:
    """The page that sends pictures to /ws/analyze and shows what is read. Nothing is sent before consent."""
    return render_template(
        "webcam.html",
        version=__version__,
        notice=context().session.terms.notice,
        refusal=context().session.terms.refusal,
        emotions=EMOTIONS,
        names={label: shown_name(label) for label in LABELS},
        guest=caller().kind == "guest",
    )
