"""The live page, its video and its readings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from flask import Blueprint, Response, render_template, request

from appliance import __version__
from appliance.consent.law import INSTITUTIONS, PURPOSES, REGIONS
from appliance.errors import SlotClosed, StateConflict
from appliance.values import EMOTIONS, LABELS, Picture, PictureVariant, shown_name
from appliance.web.api.describe import HTML, JPEG, MJPEG, describe
from appliance.web.api.models import OverlayQuery, Problem
from appliance.web.api.models import Reading as ReadingMessage
from appliance.web.context import AppContext, context
from appliance.web.security.caller import Caller, caller
from appliance.web.security.policy import VIEWER, policy
from appliance.web.security.view_audit import ViewAudit
from appliance.web.transport import websocket

blueprint = Blueprint("live", __name__)

BOUNDARY = "interview-grader-picture"

_CHUNK_BYTES = 16_384
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
        operator=caller().is_operator,
        terms=app_context.session.terms,
        regions=REGIONS,
        purposes=PURPOSES,
        institutions=INSTITUTIONS,
    )


@blueprint.get("/stream.mjpg")
@policy(VIEWER, basic=True)
@describe({200: MJPEG, 409: Problem, 503: Problem}, query=OverlayQuery)
def video_stream() -> Response:
    """The video, until the viewer leaves or consent ends; 409 while idle."""
    pictures = PictureStream(context(), _variant_asked(), caller())
    ViewAudit("picture").record()
    response = Response(MultipartBody(pictures), mimetype=f"multipart/x-mixed-replace; boundary={BOUNDARY}")
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/snapshot.jpg")
@policy(VIEWER, basic=True)
@describe({200: JPEG, 409: Problem, 503: JPEG}, query=OverlayQuery)
def snapshot() -> Response:
    """The newest picture; 503 with a picture that gives the reason if there is none."""
    pictures = PictureStream(context(), _variant_asked(), caller())
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
    response.headers.update(_picture_headers(picture))
    return response


@websocket.route(blueprint, "/ws/live")
@policy(VIEWER)
@describe({101: None, 400: None, 426: None, 503: Problem}, messages=ReadingMessage)
def live_readings() -> Response:
    """One JSON message for each reading; a slow client gets the newest and misses the others."""
    listeners, audit = context().live.listeners, ViewAudit("readings")
    next_message = _NextMessage(context(), caller(), audit)
    answer = websocket.upgrade(request.environ, lambda client: websocket.send_messages(client, next_message))
    if answer.status_code == 101:
        listeners.join("readings")
        audit.record()
        answer.call_on_close(lambda: listeners.leave("readings"))
    return answer


class PictureStream:
    """The newest pictures for one viewer, who counts as a viewer until `close`."""

    def __init__(self, app_context: AppContext, variant: PictureVariant, viewer: Caller) -> None:
        """Raises `StateConflict` while idle and `TooManyViewers` at the limit."""
        session, live = app_context.session, app_context.live
        if not session.consent_epoch:
            raise StateConflict(
                "idle: the camera is closed until everyone in view has agreed; press Start on the page"
            )
        self.variant = variant
        self._session, self._live = session, live
        self._auth, self._viewer = app_context.auth, viewer
        self._consent_epoch = session.consent_epoch
        self._seen = live.pictures.number
        live.viewers.join(variant)
        self._joined = True

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
            self._live.viewers.leave(self.variant)


class MultipartBody:
    """The body of `/stream.mjpg`. A class, because a generator that never started is never closed."""

    def __init__(self, pictures: PictureStream) -> None:
        self._pictures = pictures
        self._chunks = self._make_chunks()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._chunks)

    def close(self) -> None:
        """The connection is closed. May be called twice."""
        self._pictures.close()

    def _make_chunks(self) -> Iterator[bytes]:
        """The parts in chunks, so that Stop cuts off a picture that a slow viewer is still receiving."""
        boundary = f"--{BOUNDARY}\r\n".encode()
        first = boundary
        while (picture := self._pictures.next(float("inf"))) is not None:
            jpeg = picture.jpegs[self._pictures.variant]
            headers = {
                "Content-Type": "image/jpeg",
                "Content-Length": str(len(jpeg)),
                **_picture_headers(picture),
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            # The next boundary is sent with the picture: browsers show a part only when they see its end.
            part = b"".join((first, head.encode(), b"\r\n", jpeg, b"\r\n", boundary))
            for start in range(0, len(part), _CHUNK_BYTES):
                if not self._pictures.is_allowed:
                    return
                yield part[start : start + _CHUNK_BYTES]
            first = b""


class _NextMessage:
    """The text for the next message of one WebSocket client."""

    def __init__(self, app_context: AppContext, viewer: Caller, audit: ViewAudit) -> None:
        self._context, self._viewer, self._audit, self._seen = app_context, viewer, audit, 0

    def __call__(self) -> str | None:
        if not self._viewer.is_still_authorized(self._context.auth):
            raise SlotClosed("the login has ended")
        reading, self._seen = self._context.live.readings.take(self._seen, 0.5)
        if reading is None:
            return None
        newest = self._context.newest_reading()
        if newest is None:
            return None
        self._audit.record()  # for a client that connected before this session
        return json.dumps(newest, separators=(",", ":"))


def _variant_asked() -> PictureVariant:
    return PictureVariant(overlay=request.args.get("overlay") != "0")


def _picture_headers(picture: Picture) -> dict[str, str]:
    captured = time.time() - (time.monotonic() - picture.captured)
    return {
        "X-Frame-Number": str(picture.frame),
        "X-Timestamp": f"{captured:.6f}",
        "X-Live": str(int(picture.live)),
    }
