"""How the device is: for scripts, for monitoring, for the page."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from appliance.web.api.describe import TEXT, describe
from appliance.web.api.models import Health, State
from appliance.web.security.audited import Watch
from appliance.web.security.policy import PUBLIC, TOKEN, VIEWER, policy
from appliance.web.site import site

blueprint = Blueprint("status", __name__)


@blueprint.get("/api/state")
@policy(VIEWER)
@describe({200: State})
def state() -> Response:
    """Session, camera, engines, viewers, and the newest reading."""
    told = site().state()
    if told["reading"] is not None:
        Watch("readings").saw()
    return jsonify(told)


@blueprint.get("/healthz")
@policy(PUBLIC)
@describe({200: Health, 503: Health})
def healthz() -> tuple[Response, int]:
    """200 while frames are fresh or the appliance is idle on purpose, else 503 with the reason."""
    here = site()
    status, reason = here.health.status(here.session.state, here.session.live_s)
    return jsonify(status=status, reason=reason), 200 if status in ("ok", "idle") else 503


@blueprint.get("/metrics")
@policy(TOKEN)
@describe({200: TEXT})
def metrics() -> Response:
    """Prometheus text."""
    return Response(site().metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
