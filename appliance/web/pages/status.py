"""How the device is: for scripts, for monitoring, for the page."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from appliance import __version__
from appliance.web.api.describe import TEXT, describe
from appliance.web.api.device_status import DeviceHealth, DeviceStatus, DeviceStorage
from appliance.web.api.models import Health, State
from appliance.web.security.audited import Watch
from appliance.web.security.policy import LOCAL, PUBLIC, TOKEN, VIEWER, policy
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
    verdict, reason = here.health.verdict(here.session.state, here.session.live_s)
    return jsonify(status=verdict, reason=reason), 200 if verdict in ("ok", "idle") else 503


@blueprint.get("/api/status")
@policy(LOCAL)
@describe({200: DeviceStatus})
def device_status() -> Response:
    """How the device is, for programs of root and of the service's own user: the first code is in it."""
    here = site()
    state = here.state()
    verdict, reason = here.health.verdict(state["state"], here.session.live_s)
    people = (state["session"] or {}).get("people")
    shows_no_people = state["state"] in ("live", "recording") and people is None  # a clip
    status = DeviceStatus(
        running=True,
        health=DeviceHealth.model_validate({"status": verdict, "reason": reason}),
        state=state["state"],
        live=state["state"] != "idle" and not shows_no_people,
        storage=DeviceStorage.model_validate(state["storage"]),
        address=_address(on_network=here.on_network),
        version=__version__,
        lamps=here.camera_lamp,
        first_code=here.gate.accounts.first_code(),
    )
    return jsonify(status.model_dump(by_alias=True))


def _address(*, on_network: bool) -> str:
    """The address of the page for a browser: of the network, if that can reach it."""
    if not on_network:
        return request.host_url
    port = urlsplit(request.host_url).port
    name = f"{socket.gethostname().partition('.')[0].lower()}.local"
    return f"{request.scheme}://{name}{f':{port}' if port else ''}/"


@blueprint.get("/metrics")
@policy(TOKEN)
@describe({200: TEXT})
def metrics() -> Response:
    """Prometheus text."""
    return Response(site().metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
