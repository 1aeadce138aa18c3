"""The state of the device: for scripts, for monitoring, and for the page."""

from __future__ import annotations

from flask import Blueprint, Response, url_for

from appliance import __version__
from appliance.consent.session import Session
from appliance.health import Health
from appliance.reading_json import SCHEMA
from appliance.web.addresses import device_url
from appliance.web.api.bodies import json_answer
from appliance.web.api.describe import TEXT, describe
from appliance.web.api.device_status import HEALTHY, DeviceHealth, DeviceStatus
from appliance.web.api.models import (
    Board,
    Camera,
    NoticeVersion,
    Reading,
    SessionDetails,
    State,
    Storage,
)
from appliance.web.api.models import Health as HealthAnswer
from appliance.web.context import AppContext, context
from appliance.web.security.policy import LOCAL, PUBLIC, TOKEN, VIEWER, policy
from appliance.web.security.view_audit import ViewAudit

blueprint = Blueprint("status", __name__)


@blueprint.get("/api/state")
@policy(VIEWER, basic=True)
@describe({200: State})
def state() -> Response:
    """Session, camera, engines, viewers, and the newest reading."""
    answer = make_state(context())
    if answer.reading is not None:
        ViewAudit("readings").record()
    return json_answer(answer)


@blueprint.get("/healthz")
@policy(PUBLIC)
@describe({200: HealthAnswer, 503: HealthAnswer})
def healthz() -> Response:
    """200 while frames are fresh or the appliance is idle on purpose, else 503 with the reason."""
    status, reason = _health(context())
    return json_answer(HealthAnswer(status=status, reason=reason), 200 if status in HEALTHY else 503)


@blueprint.get("/api/status")
@policy(LOCAL)
@describe({200: DeviceStatus})
def device_status() -> Response:
    """The status of the device with its first code, for programs of root and of the service's user."""
    app_context = context()
    state = make_state(app_context)
    status, reason = _health(app_context)
    shows_no_people = (
        state.state in ("live", "recording", "paused") and not app_context.session.needs_consent
    )  # a clip
    return json_answer(
        DeviceStatus(
            running=True,
            health=DeviceHealth(status=status, reason=reason),
            state=state.state,
            live=state.state != "idle" and not shows_no_people,
            storage=state.storage,
            address=device_url(url_for("live.live_page")),
            version=__version__,
            engine=_engine(app_context.device.engines()),
            lamps=app_context.device.has_camera_lamp,
            first_code=app_context.auth.accounts.first_code(),
        )
    )


@blueprint.get("/metrics")
@policy(TOKEN)
@describe({200: TEXT})
def metrics() -> Response:
    """Prometheus text."""
    return Response(context().metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")


def make_state(app_context: AppContext) -> State:
    """The body of `/api/state`."""
    session, status, reading = app_context.session, app_context.store.status, app_context.newest_reading()
    return State(
        schema=SCHEMA,
        state=session.state,
        notice=NoticeVersion(version=session.terms.notice.version),
        camera=_camera(app_context.health),
        engine=app_context.device.engines(),
        storage=Storage(state=status.state, reason=status.reason),
        board=Board(strain=app_context.health.throttling or None),
        viewers=app_context.live.viewers.count,
        session=_session_details(session),
        reading=None if reading is None else Reading.model_validate(reading),
    )


def _engine(engines: dict[str, str]) -> str:
    return engines.get("choice") or engines["detector"]


def _health(app_context: AppContext) -> tuple[str, str | None]:
    return app_context.health.status(app_context.session.state, app_context.session.elapsed_s)


def _camera(health: Health) -> Camera:
    camera, frame, age_s = health.camera, health.newest_frame, health.frame_age()
    return Camera(
        backend=camera.backend,
        state=camera.state,
        reason=camera.reason,
        since=round(camera.since, 3),
        frame=frame.number if frame else None,
        age_s=None if age_s is None else round(age_s, 3),
        fps=round(health.rate("camera"), 1),
        width=frame.width if frame else None,
        height=frame.height if frame else None,
    )


def _session_details(session: Session) -> SessionDetails | None:
    """The session in force or the preview, None while idle."""
    now, left_s = session.snapshot, session.preview_left_s
    if not now.first_epoch:
        return None
    length_s, pause_s = session.length_s, session.pause_left_s
    consent = now.consent
    zone = consent.zone if consent else None
    return SessionDetails(
        people=consent.people if consent else None,
        seat=[round(side, 4) for side in (zone.x, zone.y, zone.width, zone.height)] if zone else None,
        aiming_s=None if left_s is None else round(left_s, 1),
        elapsed_s=None if length_s is None else round(length_s, 1),
        pause_s=None if pause_s is None else round(pause_s, 1),
        recording=now.has_recording,
    )
