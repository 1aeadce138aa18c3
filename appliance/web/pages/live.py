"""The live page, its video and its readings."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

from flask import Blueprint, Response, render_template, request

from appliance import __version__
from appliance.consent.law import INSTITUTIONS, PURPOSES, REGIONS
from appliance.errors import SlotClosed, StateConflict, StoreError, TooManyViewers
from appliance.records.export.tables import summary_json
from appliance.values import EMOTIONS, LABELS, Picture, PictureVariant, Reading, shown_name
from appliance.viewers import snap_width
from appliance.web.api.bodies import parse_query
from appliance.web.api.describe import HTML, JPEG, MJPEG, describe
from appliance.web.api.models import (
    ClockAnswer,
    PictureHead,
    PicturesQuery,
    Problem,
    SnapshotQuery,
    StreamQuery,
    ViewerMessage,
)
from appliance.web.api.models import Reading as ReadingMessage
from appliance.web.context import AppContext, context
from appliance.web.delivery import READY_S, RateLimit
from appliance.web.framing import BOUNDARY, FIRST_BOUNDARY, picture_headers
from appliance.web.pages.one_time_links import linkable_pages
from appliance.web.picture_viewer import SILENT_S, PictureViewer
from appliance.web.security.caller import Caller, caller
from appliance.web.security.policy import VIEWER, policy
from appliance.web.security.view_audit import ViewAudit
from appliance.web.transport import websocket
from appliance.web.transport.broadcast import NOT_NOW
from appliance.web.transport.connection_writer import ConnectionWriter
from appliance.web.transport.takeover import Takeover

blueprint = Blueprint("live", __name__)

_CUT = ("power", "full")  # how a recording ended that no one ended
_WAIT_S = 1.0
_SNAPSHOT_S = 3.0


@blueprint.get("/")
@policy(VIEWER)
@describe({200: HTML})
def live_page() -> str:
    """The live page."""
    app_context = context()
    return render_template(
        "live.html",
        version=__version__,
        notice=app_context.session.terms.notice,
        emotions=EMOTIONS,
        names={label: shown_name(label) for label in LABELS},
        open_to_network=app_context.network.open,
        camera_lamp=app_context.device.has_camera_lamp,
        needs_consent=app_context.session.needs_consent,
        live=app_context.session.snapshot.state in ("live", "recording"),
        operator=caller().is_operator,
        cut=_cut_recordings(app_context) if caller().is_operator else [],
        terms=app_context.session.terms,
        regions=REGIONS,
        purposes=PURPOSES,
        institutions=INSTITUTIONS,
        one_time_pages=linkable_pages() if caller().is_operator else [],
    )


@blueprint.get("/stream.mjpg")
@policy(VIEWER, basic=True)
@describe({200: MJPEG, 409: Problem, 503: Problem}, query=StreamQuery)
def video_stream() -> Response:
    """The video, until the viewer leaves or consent ends; 409 while idle."""
    query = parse_query(StreamQuery)
    pictures = PictureStream(context(), _variant(query), caller())
    ViewAudit("picture").record()
    response = Takeover(lambda writer: pictures.begin(writer, RateLimit(query.fps)), 200)
    response.headers["Content-Type"] = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    response.headers["X-Accel-Buffering"] = "no"
    response.call_on_close(pictures.close)
    return response


@blueprint.get("/snapshot.jpg")
@policy(VIEWER, basic=True)
@describe({200: JPEG, 409: Problem, 503: JPEG}, query=SnapshotQuery)
def snapshot() -> Response:
    """The newest picture; 503 with a picture that gives the reason if there is none."""
    pictures = PictureStream(context(), _variant(parse_query(SnapshotQuery)), caller())
    try:
        picture = pictures.next(_SNAPSHOT_S)
    finally:
        pictures.close()
    if picture is None:
        raise StateConflict("no picture: the camera has just been closed")
    ViewAudit("picture").record()
    response = Response(
        picture.jpegs[pictures.variant], mimetype="image/jpeg", status=200 if picture.live else 503
    )
    response.headers.update(picture_headers(picture))
    return response


@websocket.route(blueprint, "/ws/pictures")
@policy(VIEWER)
@describe(
    {101: None, 400: None, 409: Problem, 426: None},
    query=PicturesQuery,
    messages=PictureHead,
    client_messages=ViewerMessage,
    replies=ClockAnswer,
)
def live_pictures() -> Response:
    """Pictures without boxes, each with the reading to show with it; 409 while idle.

    A binary message for each picture: the length of the head (4 bytes, big-endian), the head (JSON, as under
    Messages), the JPEG. The viewer acknowledges what it shows, and gets as many pictures, and as wide ones,
    as it can show without delay; one that never acknowledges gets a single picture. Closes with 1001 when the
    server stops or the login ends, with 1008 when a message is not understood, too many come, or a picture
    is not acknowledged for 20 s, and with 1013, try again later, at the limit of viewers. The end
    of the session cuts the connection.
    """
    app_context, query = context(), parse_query(PicturesQuery)
    require_consent(app_context)
    shower = _PictureSocket(app_context, PictureViewer(width=query.width, fps=query.fps))
    answer = websocket.upgrade(request.environ, shower.begin)
    if answer.status_code == 101 and shower.join(caller()):
        ViewAudit("picture").record()
        answer.call_on_close(shower.close)
    return answer


@websocket.route(blueprint, "/ws/live")
@policy(VIEWER)
@describe({101: None, 400: None, 426: None, 503: Problem}, messages=ReadingMessage)
def live_readings() -> Response:
    """One JSON message for each reading; a slow client gets the newest and misses the others."""
    viewer, audit = caller(), ViewAudit("readings")
    readings = _ReadingStream(context(), viewer, audit)
    answer = websocket.upgrade(request.environ, readings.begin)
    if answer.status_code == 101:
        listeners = context().live.listeners
        listeners.join("readings", viewer.seat, is_operator=viewer.is_operator)
        audit.record()
        answer.call_on_close(lambda: listeners.leave("readings", viewer.seat, is_operator=viewer.is_operator))
    return answer


class PictureStream:
    """The newest pictures for one viewer, who counts as a viewer until `close`."""

    def __init__(self, app_context: AppContext, variant: PictureVariant, viewer: Caller) -> None:
        """Raises `StateConflict` while idle and `TooManyViewers` at the limit."""
        session, live = app_context.session, app_context.live
        require_consent(app_context)
        self.variant = variant
        self._context, self._session, self._live = app_context, session, live
        self._auth, self._viewer = app_context.auth, viewer
        self._consent_epoch = session.consent_epoch
        self._seen = live.pictures.number
        self._takes: Callable[[], bool] = lambda: True
        live.viewers.join(variant, viewer.seat, is_operator=viewer.is_operator, is_ready=self._is_ready)
        self._joined = True

    def begin(self, writer: ConnectionWriter, rate: RateLimit) -> None:
        """Send pictures until the viewer leaves or consent ends; in the event loop."""
        pictures = self._context.picture_broadcast
        self.guard(writer, lambda: rate.allows(time.monotonic() + READY_S))
        writer.ended = lambda: pictures.leave(writer)
        writer.send(FIRST_BOUNDARY)
        pictures.join(
            writer,
            lambda picture: self.variant if rate.allows(time.monotonic()) else NOT_NOW,
            self._seen,
            lambda picture: rate.sent(time.monotonic()),
        )

    def guard(self, writer: ConnectionWriter, is_ready: Callable[[], bool]) -> None:
        """Cut the connection when consent ends, and end it when the viewer is no longer authorized.

        From now on pictures are encoded for it only while its connection has room and it `is_ready`.
        """
        self._takes = lambda: writer.is_idle and is_ready()
        writer.may_send = lambda: self._consent_epoch == self._session.consent_epoch
        writer.is_authorized = lambda: self._viewer.is_still_authorized(self._auth)

    def change(self, variant: PictureVariant) -> None:
        """Watch another variant from now on."""
        if self._joined and variant != self.variant:
            self._live.viewers.change(self.variant, variant, self._is_ready)
            self.variant = variant

    def next(self, limit_s: float) -> Picture | None:
        """The next picture; None when consent ends, the server stops, or `limit_s` seconds are over."""
        end = time.monotonic() + limit_s
        while self.is_allowed and time.monotonic() < end:
            try:
                picture, self._seen = self._live.pictures.take(self._seen, _WAIT_S)
            except SlotClosed:
                return None
            if (
                picture is not None
                and picture.consent_epoch == self._consent_epoch
                and self.variant in picture.jpegs
            ):
                return picture if self.is_allowed else None  # consent may have ended during the wait
        return None

    @property
    def is_allowed(self) -> bool:
        """Whether the viewer's consent epoch is in force, and the viewer still authorized."""
        is_in_force = self._consent_epoch == self._session.consent_epoch
        return is_in_force and self._viewer.is_still_authorized(self._auth)

    def close(self) -> None:
        """Stop counting as a viewer. May be called twice."""
        if self._joined:
            self._joined = False
            who = self._viewer
            self._live.viewers.leave(
                self.variant, who.seat, is_operator=who.is_operator, is_ready=self._is_ready
            )

    def _is_ready(self) -> bool:
        return self._takes()


class _PictureSocket:
    """Shows pictures to one viewer of `/ws/pictures`."""

    def __init__(self, app_context: AppContext, viewer: PictureViewer) -> None:
        self._context, self._viewer = app_context, viewer
        self._pictures: PictureStream | None = None
        self._after = app_context.live.pictures.number
        self._refusal = ""

    def join(self, who: Caller) -> bool:
        """Take a seat; False at the limit, which the client learns from the close of the WebSocket.

        Not from the status of the handshake, because a browser tells a page nothing about it.
        """
        try:
            self._pictures = PictureStream(self._context, self._viewer.variant, who)
        except TooManyViewers as error:
            self._refusal = str(error)
        return self._pictures is not None

    def begin(self, client: websocket.WebSocket) -> None:
        """Send pictures until the viewer leaves or consent ends; in the event loop."""
        pictures, messages, writer = self._pictures, self._context.message_broadcast, client.writer
        if pictures is None:
            client.close(websocket.CloseCode.TRY_AGAIN_LATER, self._refusal)
            return

        def hear(message: websocket.Message) -> None:
            try:
                answer = self._viewer.hear(message)
            except ValueError as error:
                client.close(websocket.CloseCode.POLICY_VIOLATION, str(error))
                return
            pictures.change(self._viewer.variant)  # before what is sent, which can end the connection
            if answer:
                client.send(answer)
            messages.offer(writer)

        def choose(picture: Picture) -> Hashable:
            if self._viewer.is_silent:
                client.close(
                    websocket.CloseCode.POLICY_VIOLATION, f"no picture was acknowledged for {SILENT_S:g} s"
                )
            return self._viewer.variant if self._viewer.accepts(picture) else NOT_NOW

        pictures.guard(writer, self._viewer.is_ready)
        client.received = hear
        writer.ended = lambda: messages.leave(writer)
        messages.join(writer, choose, self._after, self._viewer.sent)

    def close(self) -> None:
        """Free the seat."""
        if self._pictures is not None:
            self._pictures.close()


class _ReadingStream:
    """The readings for one WebSocket client."""

    def __init__(self, app_context: AppContext, viewer: Caller, audit: ViewAudit) -> None:
        self._context, self._viewer, self._audit = app_context, viewer, audit
        self._consent_epoch = app_context.session.consent_epoch

    def begin(self, client: websocket.WebSocket) -> None:
        """Send readings until the client leaves; in the event loop."""
        readings, writer = self._context.reading_broadcast, client.writer
        writer.is_authorized = lambda: self._viewer.is_still_authorized(self._context.auth)
        writer.ended = lambda: readings.leave(writer)
        readings.join(writer, lambda reading: None, 0, lambda reading: self._record(writer, reading))

    def _record(self, writer: ConnectionWriter, reading: Reading) -> None:
        if reading.frame.consent_epoch != self._consent_epoch:  # it connected before this session
            self._consent_epoch = reading.frame.consent_epoch
            writer.run(self._audit.record)


def _cut_recordings(app_context: AppContext) -> list[dict[str, Any]]:
    """The recordings that a power failure, a crash or a full disk ended, the newest first."""
    try:
        sessions = app_context.store.sessions()
    except StoreError:
        return []  # the page says on its own that the records cannot be read
    in_force = app_context.session.id
    return [
        # One that still seems to be in progress was cut just now: the store closes it within a moment.
        summary_json(each) | {"ending": each.ending or "power"}
        for each in sessions
        if each.ending in _CUT or (each.ended is None and each.id != in_force)
    ]


def require_consent(app_context: AppContext) -> None:
    """Raise `StateConflict` while idle or paused."""
    if app_context.session.state == "paused":
        raise StateConflict("paused: the camera is closed; press Resume on the page")
    if not app_context.session.consent_epoch:
        raise StateConflict(
            "idle: the camera is closed until everyone in view has agreed; press Start on the page"
        )


def _variant(query: SnapshotQuery) -> PictureVariant:
    max_width = snap_width(query.width) if query.width else None
    return PictureVariant(overlay=query.overlay != "0", max_width=max_width)
