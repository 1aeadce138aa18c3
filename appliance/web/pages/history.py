"""What was recorded: the list, one session with its chart, exports, and erasing."""

from __future__ import annotations

from flask import Blueprint, Response, abort, jsonify, render_template

from appliance import __version__
from appliance.errors import StateConflict
from appliance.records import ID, RecordedSession
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
from appliance.values import EMOTIONS
from appliance.web.api.describe import HTML, PDF, describe
from appliance.web.api.models import Erased, Problem, Recorded, Sessions
from appliance.web.pages.exports import streamed
from appliance.web.security.policy import OPERATOR, policy, who
from appliance.web.site import site

blueprint = Blueprint("history", __name__)

CHART = 600, 26
"""Width and height of one expression's row, in units of the chart."""

_TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json", "pdf": "application/pdf"}


@blueprint.get("/sessions")
@policy(OPERATOR)
@describe({200: HTML})
def page() -> str:
    """The list of sessions."""
    here = site()
    return render_template(
        "sessions.html",
        version=__version__,
        sessions=here.store.sessions(),
        status=here.store.status,
        keep_days=here.store.limits.keep_days,
        local=format_local,
        lasted=format_length,
    )


@blueprint.get("/api/sessions")
@policy(OPERATOR)
@describe({200: Sessions, 507: Problem})
def sessions() -> Response:
    """The same as JSON, the newest first."""
    return jsonify(sessions=[summary_json(kept) for kept in site().store.sessions()])


@blueprint.get("/sessions/<id>")
@policy(OPERATOR)
@describe({200: HTML, 404: Problem})
def session_page(id: str) -> str:
    """One session: facts, figures, and a chart of time for each person."""
    session = _known(id)
    view = timeline.view(session)
    return render_template(
        "session.html",
        version=__version__,
        kept=session.summary,
        markers=session.markers,
        persons=view.totals,
        charts={person: _drawn(session, person) for person in view.charted},
        left_out=view.summary(),
        emotions=EMOTIONS,
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
def session(id: str) -> Response:
    """The same as JSON, with every second; 503 while another export is made."""
    session = _known(id)
    with site().exports.slot(id) as slot:
        return streamed(join_blocks(as_json(session, indent=None)), "application/json", slot)


@blueprint.get("/sessions/<id>/export.<any(csv, json, pdf):kind>")
@policy(OPERATOR)
@describe({200: PDF, 404: Problem, 503: Problem})
def export(id: str, kind: str) -> Response:
    """A file to keep; 503 while another one is made."""
    return download(_known(id), kind, who())


@blueprint.post("/sessions/<id>/erase")
@policy(OPERATOR)
@describe({200: Erased, 404: Problem, 409: Problem, 507: Problem})
def erase(id: str) -> Response:
    """Everything of the session is gone, copies included; 409 while it is recorded."""
    here = site()
    if _known(id).summary.ended is None:
        raise StateConflict(f"session {id} is being recorded; press Stop or Withdraw on the live page first")
    here.store.erase(id)
    here.audit.append("erase", who(), session=id)
    return jsonify(erased=id)


def download(session: RecordedSession, kind: str, who: str, *, by_link: bool = False) -> Response:
    """A session as a file; also for a person who gets their own copy by a link. It is in the audit log."""
    here, id = site(), session.summary.id
    with here.exports.slot(id, by_link=by_link) as slot:
        if here.exports.is_news(who, id, kind):
            here.audit.append("export", who, session=id, format=kind)
            here.exports.noted(who, id, kind)
        response = streamed(export_session(session, kind), _TYPES[kind], slot)
    response.headers["Content-Disposition"] = f'attachment; filename="session-{id}.{kind}"'
    return response


def _known(id: str) -> RecordedSession:
    session = site().store.session(id) if ID.fullmatch(id) else None
    if session is None:
        abort(
            404, f"session {id!r} is not known; it may have been erased: /sessions lists those that are kept"
        )
    return session


def _drawn(session: RecordedSession, person: int) -> dict[str, list[str]]:
    parts, length = timeline.pieces(session, person), session.summary.seconds
    return {
        name: [_points(area) for area in timeline.areas(parts, name, length, *CHART)] for name in EMOTIONS
    }


def _points(area: list[timeline.Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in area)
