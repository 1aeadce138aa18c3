"""A browser as the room's camera: its page, and the WebSocket on which it sends pictures."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from flask import Blueprint, Response, render_template, request
from pydantic import ValidationError

from appliance import __version__
from appliance.errors import PictureError, PictureTooLarge, StateConflict
from appliance.media.ingest import WINDOW, Ingest, Sender
from appliance.media.shrink import MAX_AREA
from appliance.web.api.bodies import parse_query
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import CameraClientMessage, CameraMessage, CameraQuery, Problem
from appliance.web.context import AppContext, context
from appliance.web.security.caller import Caller, caller
from appliance.web.security.policy import CAMERA, policy
from appliance.web.transport import websocket
from appliance.web.transport.websocket import CloseCode

MAX_BYTES = 1_000_000
"""Of a picture; a JPEG of 1920x1080 with much detail has half of it."""

LEAVING = {
    "hidden": "the page on the phone or laptop was closed or hidden, or its screen is off; open it again",
    "stopped": "sending was stopped on the phone or laptop; press Send there",
    "camera": "the phone or laptop lost its own camera; does another app use it?",
}
"""Why no pictures come, by what the browser said before it left."""

_NO_CONSENT = (
    "The room has not agreed yet. Nothing is sent before the operator presses Start or Aim the camera."
)
_OPENING = "The device is about to open its camera."

blueprint = Blueprint("camera", __name__)


@blueprint.get("/camera")
@policy(CAMERA)
@describe({200: HTML, 409: HTML})
def camera_page() -> Response:
    """The page that makes this browser the room's camera; 409 if `camera.backend` is another."""
    app_context = context()
    is_on = app_context.ingest is not None
    page = render_template("camera.html", version=__version__, source=app_context.device.source, is_on=is_on)
    return Response(page, 200 if is_on else 409)


@websocket.route(blueprint, "/ws/camera")
@policy(CAMERA)
@describe(
    {101: None, 400: None, 409: Problem, 426: None},
    query=CameraQuery,
    messages=CameraMessage,
    client_messages=CameraClientMessage,
)
def camera_socket() -> Response:
    """The browser sends one JPEG in each binary message, at most two more than were taken.

    It sends only between `taken` 0 and `wait`, which follow the session. It answers `wait` with `waiting`,
    and what it had sent before that is dropped. Closes with 1009 for more than 1 MB or more pixels than
    1920x1080, with 1007 for what is no JPEG, with 1008 for other messages, for pictures that were not asked
    for, and when another page takes the place, and with 1013 while another browser has the place.
    """
    app_context, query = context(), parse_query(CameraQuery)
    if app_context.ingest is None:
        raise StateConflict(
            f'the camera is {app_context.device.source}; set camera.backend = "browser" first'
        )
    socket = _CameraSocket(app_context, app_context.ingest, caller(), take_over=query.take_over == "1")
    answer = websocket.upgrade(request.environ, socket.begin, max_message_bytes=MAX_BYTES)
    if answer.status_code == 101:
        answer.call_on_close(socket.close)
    return answer


class _CameraSocket:
    """Connects one browser with the ingest; `begin` and what it sets run in the event loop."""

    def __init__(self, app_context: AppContext, ingest: Ingest, who: Caller, *, take_over: bool) -> None:
        """Make it within the request."""
        self._context, self._ingest, self._who, self._take_over = app_context, ingest, who, take_over
        self._address = request.remote_addr or ""
        self._sender: Sender | None = None
        self._opening = 0
        """The opening that the browser knows of; 0: it waits."""
        self._acknowledged = 0
        self._room = 0
        """Pictures that may come: on their way, or acknowledged ones that make room for others."""
        self._reason = ""
        self._is_confirmed = True
        """Whether the browser has answered the last `wait`: what comes after the answer was sent after it."""
        self._is_over = False

    def begin(self, client: websocket.WebSocket) -> None:
        """Take the place, or refuse with the reason."""
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._update, client)

        if self._is_over:
            return
        try:
            self._sender = self._ingest.join(self._who.identity, wake, take_over=self._take_over)
        except StateConflict as refusal:
            client.close(CloseCode.TRY_AGAIN_LATER, str(refusal))
            return
        client.writer.is_authorized = lambda: self._who.is_still_authorized(self._context.auth)
        client.writer.ended = self.close
        client.received = lambda message: self._hear(client, message)
        self._update(client)

    def close(self) -> None:
        """Free the place. May be called twice, from any thread."""
        self._is_over = True
        if self._sender is not None:
            self._sender.leave()

    def _update(self, client: websocket.WebSocket) -> None:
        """Tell the browser what has changed for it."""
        sender = self._sender
        if sender is None or not client.open:
            return
        if not sender.is_current:
            client.close(
                CloseCode.POLICY_VIOLATION, "another page of this or another browser is the camera now"
            )
            return
        opening, taken = sender.opening, sender.taken
        if not self._is_confirmed:
            return
        if not opening or self._opening not in (0, opening):
            self._tell_to_wait(client)
        elif not self._opening:
            self._opening, self._reason, self._acknowledged, self._room = opening, "", 0, WINDOW
            client.send(_json(CameraMessage(taken=0)))
            client.writer.run(self._record)
        elif taken != self._acknowledged:
            self._room += taken - self._acknowledged
            self._acknowledged = taken
            client.send(_json(CameraMessage(taken=taken)))

    def _tell_to_wait(self, client: websocket.WebSocket) -> None:
        reason = _OPENING if self._context.session.camera_epoch else _NO_CONSENT
        if self._opening or reason != self._reason:
            self._opening, self._reason, self._is_confirmed = 0, reason, False
            client.send(_json(CameraMessage(wait=reason)))

    def _hear(self, client: websocket.WebSocket, message: websocket.Message) -> None:
        if isinstance(message, bytes):
            self._take(client, message)
            return
        try:
            said = CameraClientMessage.model_validate_json(message)
        except ValidationError:
            client.close(
                CloseCode.POLICY_VIOLATION, "not understood; see CameraClientMessage in /api/openapi.json"
            )
            return
        if said.leaving and self._sender is not None:
            self._sender.leave(LEAVING[said.leaving])
            client.close(CloseCode.NORMAL_CLOSURE)
        elif said.waiting and not self._is_confirmed:
            self._is_confirmed, self._room = True, 0
            self._update(client)

    def _take(self, client: websocket.WebSocket, jpeg: bytes) -> None:
        from appliance.media.jpeg import check_jpeg  # loads a library that only this camera needs

        self._room -= 1
        if self._room < 0:
            client.close(CloseCode.POLICY_VIOLATION, "a picture that was not asked for; wait for taken")
            return
        if not self._opening:
            return  # it was on its way when sending ended
        try:
            check_jpeg(jpeg, MAX_AREA)
        except PictureTooLarge as error:
            client.close(CloseCode.MESSAGE_TOO_BIG, str(error))
            return
        except PictureError as error:
            client.close(CloseCode.INVALID_DATA, str(error))
            return
        # The camera closes a moment after consent ends; until then its opening is still the same.
        if self._sender is not None and self._context.session.camera_epoch:
            self._sender.put(jpeg, self._opening)

    def _record(self) -> None:
        """Note in the audit log, once for each session, that this browser was its camera."""
        now, who = self._context.session.snapshot, self._who
        if now.info and self._context.seen.is_first(now.consent_epoch, "camera", who.identity, self._address):
            self._context.audit.record("camera", who.actor, session=now.info.id, address=self._address)


def _json(message: CameraMessage) -> str:
    return message.model_dump_json(exclude_none=True)
