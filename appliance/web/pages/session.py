"""The session: consent before anything is captured, then everything until Stop or withdrawal."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response
from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.config import JsonDict

from appliance.consent.session import ANSWER_S, PREVIEW_S
from appliance.errors import StateConflict
from appliance.values import Box
from appliance.web.addresses import personal_link
from appliance.web.api.bodies import RequestBody, json_answer, parse_body
from appliance.web.api.describe import JPEG, describe
from appliance.web.api.models import Aiming, Discarded, Link, Problem, SessionState, Started
from appliance.web.context import context
from appliance.web.security.caller import caller
from appliance.web.security.policy import OPERATOR, policy

blueprint = Blueprint("session", __name__)

_MIN_SIDE = 0.02  # a zone with a shorter side, as a share of the picture, is drawn by mistake

_Corner = Annotated[float, Field(ge=0, le=1 - _MIN_SIDE, allow_inf_nan=False)]
_Side = Annotated[float, Field(ge=_MIN_SIDE, le=1, allow_inf_nan=False)]
_Zone = tuple[_Corner, _Corner, _Side, _Side]

_BOTH: JsonDict = {
    "properties": {"zone": {"type": "array"}, "seat": {"type": "array"}},
    "required": ["zone", "seat"],
}


class _WithZone(RequestBody):
    """`zone` or its older name `seat`: [x, y, width, height] in shares of the picture, cut at its edges."""

    model_config = ConfigDict(json_schema_extra={"not": _BOTH})

    zone: _Zone | None = None
    seat: _Zone | None = None

    @field_validator("zone", "seat")
    @classmethod
    def _cut(cls, zone: _Zone | None) -> _Zone | None:
        if zone is None:
            return None
        x, y, width, height = zone
        return x, y, min(width, 1 - x), min(height, 1 - y)

    @model_validator(mode="after")
    def _only_one(self) -> _WithZone:
        if self.zone and self.seat:
            raise ValueError("expected zone or seat, not both")
        return self

    @property
    def box(self) -> Box | None:
        """The zone as a box in shares of the picture."""
        zone = self.zone or self.seat
        return Box(*zone) if zone else None


class StartRequest(_WithZone):
    """The body of `/api/session/start`."""

    notice_version: str
    people: int = Field(1, ge=1, le=32)


class SeatRequest(_WithZone):
    """The body of `/api/session/seat`."""


class RecordRequest(RequestBody):
    """The body of `/api/session/record`."""

    label: str = Field("", max_length=80)
    note: str = Field("", max_length=2000)


class PauseRequest(RequestBody):
    """The body of `/api/session/pause`: false resumes."""

    paused: bool = True


class DiscardRequest(RequestBody):
    """The body of `/api/session/discard`: the id of the recording, null for the one that ended last."""

    session: str | None = None


class MarkerRequest(RequestBody):
    """The body of `/api/session/marker`."""

    text: str = Field(min_length=1, max_length=80)


@blueprint.post("/api/session/start")
@policy(OPERATOR)
@describe({200: Started, 409: Problem, 415: Problem, 507: Problem}, body=StartRequest)
def start_session() -> Response:
    """Start a session: people have read this version of the notice and agree; 409 for another version.

    If the camera shows living people, the answer has their personal link and its QR code.
    """
    wanted = parse_body(StartRequest, '{"notice_version": "…", "people": 1}')
    session = context().session
    started = session.start(wanted.notice_version, caller().actor, wanted.people, wanted.box)
    if not started.token:
        return _state()
    link = personal_link(started.token)
    return json_answer(Started(state=session.state, link=link.link, qr=link.qr))


@blueprint.post("/api/session/stop")
@policy(OPERATOR)
@describe({200: SessionState})
def stop_session() -> Response:
    """End the session or the preview, and close the camera."""
    context().session.stop(caller().actor)
    return _state()


@blueprint.post("/api/session/aim")
@policy(OPERATOR)
@describe({200: Aiming, 409: Problem, 507: Problem})
def start_preview() -> Response:
    """Open the camera for a blurred preview, for a minute at most; 409 while live."""
    session = context().session
    session.start_preview(caller().actor)
    return json_answer(Aiming(state=session.state, seconds=round(session.preview_left_s or PREVIEW_S)))


@blueprint.post("/api/session/seat")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=SeatRequest)
def set_zone() -> Response:
    """Set the zone in which faces are analysed, null for the entire picture; 409 unless live."""
    context().session.set_zone(parse_body(SeatRequest, '{"seat": [0.2, 0.1, 0.5, 0.8]}').box, caller().actor)
    return _state()


@blueprint.post("/api/session/again")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 507: Problem})
def reconfirm() -> Response:
    """Confirm that the people in view are those who agreed, after one was away; 409 unless live."""
    context().session.reconfirm(caller().actor)
    return _state()


@blueprint.post("/api/session/baseline")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem})
def take_baselines() -> Response:
    """Take the baseline of everyone who is analysed: they look at the camera with a resting face for 10 s.

    409 unless live. The readings say what became of it: `baseline` is `taking`, then `taken`, or as before
    if the face was readable and frontal for less than 3 of the 10 seconds.
    """
    context().session.take_baselines()
    return _state()


@blueprint.post("/api/session/record")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=RecordRequest)
def start_recording() -> Response:
    """Start to record numbers; 409 unless live and not recording."""
    wanted = parse_body(RecordRequest, '{"label": "", "note": ""}')
    context().session.start_recording(wanted.label.strip(), wanted.note.strip(), caller().actor)
    return _state()


@blueprint.post("/api/session/record/stop")
@policy(OPERATOR)
@describe({200: SessionState})
def stop_recording() -> Response:
    """End the recording and keep the session; harmless when none runs."""
    session = context().session
    session.stop_recording(caller().actor)
    session.flush(ANSWER_S)
    return _state()


@blueprint.post("/api/session/discard")
@policy(OPERATOR)
@describe({200: Discarded, 409: Problem, 415: Problem, 507: Problem}, body=DiscardRequest)
def discard_recording() -> Response:
    """Erase the recording that ended last; 409 while recording and when there is none."""
    session, wanted = context().session, parse_body(DiscardRequest, '{"session": null}')
    erased = session.discard(caller().actor, wanted.session)
    return json_answer(Discarded(erased=erased, state=session.state))


@blueprint.post("/api/session/pause")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=PauseRequest)
def pause_session() -> Response:
    """Close the camera and keep the consent, for ten minutes at most, or resume; 409 without a session."""
    session, wanted = context().session, parse_body(PauseRequest, '{"paused": true}')
    (session.pause if wanted.paused else session.resume)(caller().actor)
    return _state()


@blueprint.post("/api/session/marker")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=MarkerRequest)
def add_marker() -> Response:
    """Add a marker at this moment; 409 unless recording."""
    context().session.add_marker(parse_body(MarkerRequest, '{"text": "question 2"}').text.strip())
    return _state()


@blueprint.post("/api/session/withdraw")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 507: Problem})
def withdraw_session() -> Response:
    """End the session and erase everything recorded of it; 409 when there is none."""
    context().session.withdraw(caller().actor)
    return _state()


@blueprint.get("/api/session/link")
@policy(OPERATOR)
@describe({200: Link, 409: Problem})
def get_link() -> Response:
    """The personal link of the session in force and its QR code; 409 when there is none."""
    token = context().session.snapshot.token
    if not token:
        raise StateConflict(
            f"{context().session.state}: no session is in progress, so no link exists; press Start first"
        )
    return json_answer(personal_link(token))


@blueprint.get("/aim.jpg")
@policy(OPERATOR)
@describe({200: JPEG, 409: Problem, 503: Problem})
def preview_picture() -> Response:
    """The newest picture of the preview, blurred; 409 without a preview, 503 before the first picture."""
    jpeg = context().preview.picture()
    if jpeg is None:
        answer = json_answer(Problem(error="the camera has delivered no picture yet; try again"), 503)
        answer.headers["Retry-After"] = "1"
        return answer
    return Response(jpeg, mimetype="image/jpeg")


def _state() -> Response:
    return json_answer(SessionState(state=context().session.state))
