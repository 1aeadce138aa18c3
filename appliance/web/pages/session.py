"""The session: people agree before anything is captured; and whatever follows until they stop or withdraw."""

from __future__ import annotations

from typing import Annotated

from flask import Blueprint, Response, jsonify
from pydantic import Field, field_validator, model_validator

from appliance.consent.session import PREVIEW_S
from appliance.errors import StateConflict
from appliance.values import Box
from appliance.web.api.bodies import Body, body
from appliance.web.api.describe import describe
from appliance.web.api.models import Aiming, Link, Problem, SessionState, Started
from appliance.web.pages.links import link_of
from appliance.web.security.policy import OPERATOR, policy, who
from appliance.web.site import site

blueprint = Blueprint("sessions", __name__, url_prefix="/api/session")

_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Zone = tuple[_Share, _Share, _Share, _Share]

_MIN_SIDE = 0.02  # a zone with a shorter side, as a share of the picture, is drawn by mistake
_ROUNDING = 1e-3


class _WithZone(Body):
    """`zone` and its older name `seat`: [x, y, width, height] in shares of the picture."""

    zone: _Zone | None = None
    seat: _Zone | None = None

    @field_validator("zone", "seat")
    @classmethod
    def _inside(cls, zone: _Zone | None) -> _Zone | None:
        if zone is not None:
            x, y, width, height = zone
            if min(width, height) < _MIN_SIDE or max(x + width, y + height) > 1 + _ROUNDING:
                raise ValueError("expected [x, y, width, height] within the picture, as shares of it")
        return zone

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


class RecordRequest(Body):
    """The body of `/api/session/record`."""

    label: str = Field("", max_length=80)
    note: str = Field("", max_length=2000)


class MarkerRequest(Body):
    """The body of `/api/session/marker`."""

    text: str = Field(min_length=1, max_length=80)


@blueprint.post("/start")
@policy(OPERATOR)
@describe({200: Started, 409: Problem, 415: Problem, 507: Problem}, body=StartRequest)
def start() -> Response:
    """People have read this version of the notice and agree; another version is 409.

    The answer has the person's one-time link and its QR code, where people are seen.
    """
    wanted = body(StartRequest, '{"notice_version": "…", "people": 1}')
    here = site().session
    standing = here.start(wanted.notice_version, who(), wanted.people, wanted.box)
    return jsonify(state=here.state, **(link_of(standing.token) if standing.token else {}))


@blueprint.post("/stop")
@policy(OPERATOR)
@describe({200: SessionState})
def stop() -> Response:
    """Whatever goes on ends and the camera closes."""
    site().session.stop(who())
    return _state()


@blueprint.post("/aim")
@policy(OPERATOR)
@describe({200: Aiming, 409: Problem, 507: Problem})
def aim() -> Response:
    """The camera opens for a blurred preview, for a minute at most; 409 while live."""
    here = site().session
    here.start_preview(who())
    return jsonify(state=here.state, seconds=round(here.preview_left_s or PREVIEW_S))


@blueprint.post("/seat")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=SeatRequest)
def seat() -> Response:
    """Another place in the picture bounds the analysis, null for all of it; 409 unless live."""
    site().session.set_zone(body(SeatRequest, '{"seat": [0.2, 0.1, 0.5, 0.8]}').box, who())
    return _state()


@blueprint.post("/again")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 507: Problem})
def again() -> Response:
    """Those in view now are those who agreed: whoever was away for long is read again; 409 unless live."""
    site().session.reconfirm(who())
    return _state()


@blueprint.post("/record")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=RecordRequest)
def record() -> Response:
    """Numbers are recorded from now on; 409 unless live."""
    wanted = body(RecordRequest, '{"label": "", "note": ""}')
    site().session.start_recording(wanted.label.strip(), wanted.note.strip(), who())
    return _state()


@blueprint.post("/marker")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem, 507: Problem}, body=MarkerRequest)
def marker() -> Response:
    """Note some words in the record at this moment; 409 unless recording."""
    site().session.add_marker(body(MarkerRequest, '{"text": "question 2"}').text.strip())
    return _state()


@blueprint.post("/withdraw")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 507: Problem})
def withdraw() -> Response:
    """The session ends and everything recorded of it is erased; 409 when there is none."""
    site().session.withdraw(who())
    return _state()


@blueprint.get("/link")
@policy(OPERATOR)
@describe({200: Link, 409: Problem})
def link() -> Response:
    """The one-time link of the session in force and its QR code, once more; 409 when there is none."""
    token = site().session.snapshot.token
    if not token:
        raise StateConflict(f"{site().session.state}: nobody has agreed now, so there is no link")
    return jsonify(link_of(token))


def _state() -> Response:
    return jsonify(state=site().session.state)
