"""Recorded sessions: the list, one session with its chart, exports, and erasing."""

from __future__ import annotations

from flask import Blueprint, Response, abort, render_template

from appliance import __version__
from appliance.errors import StateConflict
from appliance.records import ID, SessionRecord
from appliance.records.export import export_session, join_blocks, timeline
from appliance.records.export.tables import (
    DISCLAIMER,
    SAMPLING_TEXT,
    as_json,
    deletion_text,
    format_length,
    format_local,
    summary_json,
)
from appliance.values import EMOTIONS, shown_name
from appliance.web.api.bodies import json_answer
from appliance.web.api.describe import HTML, PDF, describe
from appliance.web.api.models import Erased, Problem, Recorded, RecordedSession, Sessions
from appliance.web.context import context
from appliance.web.export_limiter import stream_response
from appliance.web.security.caller import caller
from appliance.web.security.policy import OPERATOR, policy

blueprint = Blueprint("recordings", __name__)

CHART = 600, 26
"""Width and height of one expression's row, in units of the chart."""

_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "pdf": "application/pdf"}


@blueprint.get("/sessions")
@policy(OPERATOR)
@describe({200: HTML})
def recordings_page() -> str:
    """The list of sessions."""
    app_context = context()
    return render_template(
        "sessions.html",
        version=__version__,
        sessions=app_context.store.sessions(),
        status=app_context.store.status,
        keep_days=app_context.store.limits.keep_days,
        local=format_local,
        lasted=format_length,
    )


@blueprint.get("/api/sessions")
@policy(OPERATOR)
@describe({200: Sessions, 507: Problem})
def list_recordings() -> Response:
    """The list of sessions as JSON, the newest first."""
    found = [RecordedSession.model_validate(summary_json(each)) for each in context().store.sessions()]
    return json_answer(Sessions(sessions=found))


@blueprint.get("/sessions/<id>")
@policy(OPERATOR)
@describe({200: HTML, 404: Problem})
def recording_page(id: str) -> str:
    """One session: facts, figures, and a chart over time for each person."""
    session = _find(id)
    view = timeline.view(session)
    return render_template(
        "session.html",
        version=__version__,
        kept=session.summary,
        markers=session.markers,
        persons=view.totals,
        charts={person: _chart(session, person) for person in view.charted},
        left_out=view.summary(),
        emotions=EMOTIONS,
        names={emotion: shown_name(emotion) for emotion in EMOTIONS},
        chart=CHART,
        about=DISCLAIMER,
        sampling=SAMPLING_TEXT,
        deletion=deletion_text(session.summary),
        local=format_local,
        lasted=format_length,
    )


@blueprint.get("/api/sessions/<id>")
@policy(OPERATOR)
@describe({200: Recorded, 404: Problem, 503: Problem})
def get_recording(id: str) -> Response:
    """One session as JSON, with every second; 503 while another export is being made."""
    session = _find(id)
    with context().exports.slot(id) as slot:
        return stream_response(join_blocks(as_json(session, indent=None)), "application/json", slot)


@blueprint.get("/sessions/<id>/export.<any(csv, json, pdf):kind>")
@policy(OPERATOR)
@describe({200: PDF, 404: Problem, 503: Problem})
def export_recording(id: str, kind: str) -> Response:
    """One session as a csv, json or pdf file; 503 while another export is being made."""
    return export_response(_find(id), kind, caller().actor)


@blueprint.post("/sessions/<id>/erase")
@policy(OPERATOR)
@describe({200: Erased, 404: Problem, 409: Problem, 507: Problem})
def erase_recording(id: str) -> Response:
    """Erase a session and every copy of it on the device; 409 while it is being recorded."""
    app_context = context()
    if _find(id).summary.ended is None:
        raise StateConflict(f"session {id} is being recorded; end the recording on the live page first")
    app_context.store.erase(id)
    app_context.audit.require("erase", caller().actor, session=id)
    return json_answer(Erased(erased=id))


def export_response(session: SessionRecord, kind: str, actor: str, *, by_link: bool = False) -> Response:
    """A session as a file, for a caller with a role or a personal link; written to the audit log first."""
    app_context, id = context(), session.summary.id
    with app_context.exports.slot(id, by_link=by_link) as slot:
        app_context.hourly_audit.require("export", actor, session=id, format=kind)
        response = stream_response(export_session(session, kind), _TYPES[kind], slot)
    response.headers["Content-Disposition"] = f'attachment; filename="session-{id}.{kind}"'
    return response


def _find(id: str) -> SessionRecord:
    session = context().store.session(id) if ID.fullmatch(id) else None
    if session is None:
        abort(404, f"unknown session {id!r}; it may have been erased: /sessions lists the stored ones")
    return session


def _chart(session: SessionRecord, person: int) -> dict[str, list[str]]:
    parts, length = timeline.pieces(session, person), session.summary.seconds
    return {
        name: [_points(area) for area in timeline.areas(parts, name, length, *CHART)] for name in EMOTIONS
    }


def _points(area: list[timeline.Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in area)
