"""The blurred picture for aiming the camera."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from appliance.web.api.describe import JPEG, describe
from appliance.web.api.models import Problem
from appliance.web.security.policy import OPERATOR, policy
from appliance.web.site import site

blueprint = Blueprint("aiming", __name__)


@blueprint.get("/aim.jpg")
@policy(OPERATOR)
@describe({200: JPEG, 409: Problem, 503: Problem})
def picture() -> Response:
    """The newest picture, coarse and blurred; 409 unless aiming, 503 while the camera has given none."""
    jpeg = site().aim.picture()
    if jpeg is None:
        answer = jsonify(error="the camera has given no picture yet; ask again")
        answer.status_code = 503
        answer.headers["Retry-After"] = "1"
        return answer
    return Response(jpeg, mimetype="image/jpeg")
