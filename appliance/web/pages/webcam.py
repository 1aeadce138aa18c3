"""A browser's own webcam, without the room's camera: its page, and the WebSocket that reads its pictures."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from flask import Blueprint, Response, abort, render_template, request

from appliance import __version__
from appliance.consent.law import INSTITUTIONS, PURPOSES, REGIONS
from appliance.errors import ApplianceError, PictureError, PictureTooLarge
from appliance.reading_json import SCHEMA, reading_json
from appliance.values import EMOTIONS, LABELS, Reading, shown_name
from appliance.web.api.bodies import parse_query
from appliance.web.api.describe import HTML, describe
from appliance.web.api.models import ConsentQuery, PictureProblem, Problem
from appliance.web.api.models import Reading as ReadingMessage
from appliance.web.context import AppContext, context
from appliance.web.security.caller import GUEST, Caller, caller
from appliance.web.security.policy import ANALYZE, policy
from appliance.web.transport import websocket
from appliance.web.transport.websocket import CloseCode
from appliance.webcams.pictures import MOST_BYTES, MOST_MESSAGE_BYTES
from appliance.webcams.service import Webcam

blueprint = Blueprint("webcam", __name__)

IDLE_S = 60.0
"""After this long without a picture a client loses its place."""

MOST_FAULTS = 3
"""After this many messages in a row that are no pictures the client is at fault."""

BYTES_PER_S = 16 * MOST_BYTES
"""Of pictures that a newer one replaced: a client that waits for the answers sends none."""

LEAST_BYTES = MOST_BYTES // 4
"""What each of them counts at least: with `BYTES_PER_S`, 64 pictures a second."""

_NO_CONSENT = (
    "consent=yes is missing: pictures are analysed only if everyone in them has agreed; add ?consent=yes to "
    "declare that they have"
)

_TOO_FAST = "pictures come faster than they are read; send the next one when the answer has come"

SOURCE = "webcam"
"""The source of the readings."""


@blueprint.get("/webcam")
@policy(ANALYZE)
@describe({200: HTML})
def webcam_page() -> str:
    """The page that sends pictures to /ws/analyze and shows what is read. Nothing is sent before consent."""
    terms = context().session.terms
    return render_template(
        "webcam.html",
        version=__version__,
        notice=terms.notice,
        terms=terms,
        regions=REGIONS,
        purposes=PURPOSES,
        institutions=INSTITUTIONS,
        operator=caller().is_operator,
        emotions=EMOTIONS,
        names={label: shown_name(label) for label in LABELS},
        guest=caller().kind == GUEST,
    )


@websocket.route(blueprint, "/ws/analyze")
@policy(ANALYZE)
@describe(
    {101: None, 400: None, 409: Problem, 422: Problem, 426: None, 503: Problem, 507: Problem},
    query=ConsentQuery,
    messages=ReadingMessage,
    replies=PictureProblem,
)
def analyze_webcam() -> Response:
    """The readings of pictures that the client sends. The room's camera and session are not involved.

    The client declares with `consent=yes` that everyone in the pictures has agreed; 422 without. It sends one
    JPEG in each binary message, or a `data:image/jpeg;base64,` URL in a text message: up to 1,000,000 bytes
    and 1920x1080 pixels. Each gets one answer with its number, from 0: its reading, or why there is none.
    Send the next picture when the answer has come: only one waits, and a newer one replaces it. Closes with
    1009 for a larger picture, with 1007 at the third message in a row that is no picture, with 1008 when
    more than 64 pictures or 16 MB are replaced in a second and after a minute without a picture, with 1001
    when the login ends, when analysis is no longer allowed, when the notice changes or the server stops, and
    with 1013 when no engine is available. 503 at the limit of clients, web.max_webcams, and 409 where
    analysis is not allowed or `notice` is not in force.
    """
    app_context, who = context(), caller()
    query = parse_query(ConsentQuery)
    if query.consent != "yes":
        app_context.health.count("webcams_refused", 1)
        abort(422, _NO_CONSENT)
    app_context.session.terms.refuse_unlawful()
    if query.notice:
        app_context.session.terms.require_current(query.notice)
    app_context.webcams.refuse_at_limit()  # also for a plain request, so that a page can ask for the reason
    client = _WebcamSocket(app_context, who, query.notice or app_context.session.terms.notice.version)
    answer = websocket.upgrade(request.environ, client.begin, max_message_bytes=MOST_MESSAGE_BYTES)
    if answer.status_code == 101:
        client.join(request.remote_addr or "")
        answer.call_on_close(client.close)
    return answer


class _WebcamSocket:
    """Passes pictures from one client to the webcam service, and its answers back."""

    def __init__(self, app_context: AppContext, who: Caller, notice: str) -> None:
        """`notice`: the version that people agreed to."""
        self._context, self._who = app_context, who
        self._webcams = app_context.webcams
        self._webcam: Webcam | None = None
        self._notice = notice
        self._details: dict[str, str] = {}
        self._is_in_log = False
        self._faults = 0  # in a row
        self._allowance = Allowance(BYTES_PER_S)

    def join(self, address: str) -> None:
        """Take a place, once the beginning is in the audit log; raises `Busy` or `StoreError`."""
        self._details = {"consent": "yes", "notice": self._notice, "address": address}
        if self._who.name:
            self._details["name"] = self._who.name
        self._webcam = self._webcams.join()
        try:
            # A client that connects again and again must not push older lines out of the log.
            self._is_in_log = self._context.hourly_audit.require(
                "webcam", self._who.actor, what="begin", **self._details
            )
        except ApplianceError:
            self._webcams.leave(self._webcam)
            raise

    def begin(self, client: websocket.WebSocket) -> None:
        """Take pictures until the client leaves; in the event loop."""
        webcam, webcams, loop = self._webcam, self._webcams, asyncio.get_running_loop()
        assert webcam is not None
        heard_at = time.monotonic()

        def hear(message: websocket.Message) -> None:
            nonlocal heard_at
            heard_at = time.monotonic()
            if isinstance(message, bytes) and len(message) > MOST_BYTES:
                self._refuse(client, CloseCode.MESSAGE_TOO_BIG, f"more than {MOST_BYTES} bytes")
            elif (replaced := webcams.offer(webcam, message)) is not None:
                client.send(_problem(replaced, "replaced by a newer picture before it was read"))
                if not self._allowance.take(max(len(message), LEAST_BYTES), heard_at):
                    self._refuse(client, CloseCode.POLICY_VIOLATION, _TOO_FAST)

        def answer(number: int, result: Reading | Exception) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._answer, client, number, result)

        def check_idle() -> None:
            if time.monotonic() - heard_at > IDLE_S:
                self._refuse(client, CloseCode.POLICY_VIOLATION, f"no picture came for {IDLE_S:g} s")

        webcam.answer, client.received, client.ticked = answer, hear, check_idle
        client.writer.is_authorized = self._is_authorized
        client.writer.ended = lambda: webcams.leave(webcam)

    def close(self) -> None:
        """Free the place."""
        if self._webcam is not None:
            self._webcams.leave(self._webcam)
        if self._is_in_log:
            self._context.audit.record("webcam", self._who.actor, what="end", **self._details)

    def _is_authorized(self) -> bool:
        terms = self._context.session.terms
        is_same = terms.notice.version == self._notice
        return is_same and not terms.refusal and self._who.is_still_authorized(self._context.auth)

    def _answer(self, client: websocket.WebSocket, number: int, result: Reading | Exception) -> None:
        if isinstance(result, Reading):
            self._faults = 0
            client.send(json.dumps(reading_json(result, SOURCE), separators=(",", ":")))
        elif isinstance(result, PictureTooLarge):
            client.close(CloseCode.MESSAGE_TOO_BIG, str(result))
        elif isinstance(result, PictureError):
            self._faults += 1
            client.send(_problem(number, str(result)))
            if self._faults == MOST_FAULTS:
                client.close(CloseCode.INVALID_DATA, f"{MOST_FAULTS} messages in a row were no pictures")
        else:
            client.close(CloseCode.TRY_AGAIN_LATER, "the picture cannot be read now; see the device's log")

    def _refuse(self, client: websocket.WebSocket, code: CloseCode, reason: str) -> None:
        if client.open:
            self._context.health.count("webcams_refused", 1)
            client.close(code, reason)


class Allowance:
    """How many bytes a second a client may send; what it did not use in the last second is kept."""

    def __init__(self, per_s: float) -> None:
        self._per_s = self._left = per_s
        self._at = 0.0

    def take(self, amount: int, now: float) -> bool:
        """Whether `amount` bytes may come at `now`, in monotonic seconds."""
        self._left = min(self._per_s, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left -= amount
        return self._left >= 0


def _problem(number: int, reason: str) -> str:
    return json.dumps({"schema": SCHEMA, "frame": number, "error": reason}, separators=(",", ":"))
