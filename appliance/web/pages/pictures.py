"""Single pictures of programs: one picture in, its reading out."""

from __future__ import annotations

from typing import Literal

from flask import Blueprint, Response, abort, request
from pydantic import BaseModel, Field

from appliance.reading_json import reading_json
from appliance.web.api.bodies import json_answer, parse_query
from appliance.web.api.describe import describe
from appliance.web.api.models import PictureForm, PictureReading, Problem
from appliance.web.context import context
from appliance.web.security.body_sizes import max_body
from appliance.web.security.caller import caller
from appliance.web.security.policy import ANALYZE, policy
from appliance.web.transport.server import MAX_BODY_BYTES
from appliance.webcams.pictures import MOST_BYTES
from appliance.webcams.uploads import MEDIA_TYPES

blueprint = Blueprint("pictures", __name__)

SOURCE = "picture"
"""The source of the readings."""

MAX_REQUEST_BYTES = MOST_BYTES + MAX_BODY_BYTES
"""Of a request with a picture: a form has other parts, too."""

_LIMIT = f"a picture of at most {MOST_BYTES} bytes (1 MB)"
_FORM = "multipart/form-data"

_NO_CONSENT = (
    "consent=yes is missing: a picture is analysed only if everyone in it has agreed; add ?consent=yes to "
    "declare that they have"
)


class AnalyzeQuery(BaseModel):
    """What the sender of a picture declares, and what it shows."""

    consent: Literal["yes"] = Field(description="Everyone in the picture agreed that they are analysed")
    crops: Literal["0", "1"] = Field("0", description="1: one face that is already cut out")


@blueprint.post("/api/analyze")
@policy(ANALYZE)
@max_body(MAX_REQUEST_BYTES, _LIMIT)
@describe(
    {200: PictureReading, 409: Problem, 415: Problem, 422: Problem, 503: Problem, 507: Problem},
    query=AnalyzeQuery,
    files=MEDIA_TYPES,
    form_with_file=PictureForm,
)
def analyze_picture() -> Response:
    """The reading of one picture, which is not stored. The room's camera and session are not involved.

    The caller declares with `consent=yes` that everyone in the picture has agreed; 422 without, and for a
    picture that cannot be read. `crops=1`: the picture is one face, already cut out, and is scored whatever
    its quality. Up to 1,000,000 bytes (413) and 1920x1080 pixels, or as many in another shape (422). JPEG,
    PNG, WebP, HEIC or AVIF, recognised by the content (415); of several pictures the first is read. 409 where
    analysis is not allowed, 429 while other pictures wait.
    """
    app_context, who = context(), caller()
    if request.args.get("consent") != "yes":
        abort(422, _NO_CONSENT)
    query = parse_query(AnalyzeQuery)
    app_context.session.terms.refuse_unlawful()
    data = _sent_picture()
    named = {"name": who.name} if who.name and who.name != who.actor else {}
    app_context.hourly_audit.require(
        "picture", who.actor, consent="yes", address=request.remote_addr or "", **named
    )
    found = app_context.stills.read(data, is_crop=query.crops == "1")
    answer = {**reading_json(found.reading, SOURCE), "notes": found.notes}
    return json_answer(PictureReading.model_validate(answer))


def _sent_picture() -> bytes:
    """The picture in the body or in the form that it is."""
    if request.content_encoding:
        abort(415, f"Content-Encoding {request.content_encoding}; expected the picture as it is")
    if request.mimetype == _FORM:
        files = [file for named in request.files.listvalues() for file in named]
        if len(files) != 1:
            abort(422, f"the form has {len(files)} files; expected one picture")
        data: bytes = files[0].read()
    elif request.mimetype in MEDIA_TYPES:
        data = request.get_data()
    else:
        abort(
            415,
            f"Content-Type {request.mimetype or 'missing'}; expected {', '.join(MEDIA_TYPES)}, or {_FORM} "
            "with one file",
        )
    if len(data) > MOST_BYTES:
        abort(413, f"the picture has {len(data)} bytes; expected {_LIMIT}")
    return data
