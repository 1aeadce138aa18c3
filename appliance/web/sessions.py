"""Start and stop: the agreement before anything is captured."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from appliance.web.describe import describe
from appliance.web.policy import OPERATOR, policy
from appliance.web.schemas import Problem, SessionState
from appliance.web.site import site

blueprint = Blueprint("sessions", __name__, url_prefix="/api/session")

_EXPECTED = 'expected JSON like {"notice_version": "…", "people": 1}'


class StartRequest(BaseModel):
    """The body of `/api/session/start`."""

    model_config = ConfigDict(extra="forbid")

    notice_version: str
    people: int = Field(1, ge=1, le=32)


@blueprint.post("/start")
@policy(OPERATOR)
@describe({200: SessionState, 409: Problem, 415: Problem}, body=StartRequest)
def start() -> Response:
    """People have read this version of the notice and agree; another version is 409."""
    if not request.is_json:
        abort(415, f"not Content-Type application/json; {_EXPECTED}")
    try:
        wanted = StartRequest.model_validate(request.get_json())
    except RecursionError:
        abort(400, f"the JSON is nested too deeply; {_EXPECTED}")
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        abort(400, f"{faults}; {_EXPECTED}")
    site().session.start(wanted.notice_version)
    return jsonify(state=site().session.state)


@blueprint.post("/stop")
@policy(OPERATOR)
@describe({200: SessionState})
def stop() -> Response:
    """The agreement ends and the camera closes."""
    site().session.stop()
    return jsonify(state=site().session.state)
