"""The live page, its picture and its readings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from flask import Blueprint, Response, render_template, request

from appliance import __version__
from appliance.consent.law import INSTITUTIONS, PURPOSES, REGIONS
from appliance.errors import SlotClosed, StateConflict
from appliance.values import EMOTIONS, Picture
from appliance.viewers import BARE, OVERLAY
from appliance.web.api.describe import HTML, JPEG, MJPEG, describe
from appliance.web.api.models import OverlayQuery, Problem
from appliance.web.api.models import Reading as ReadingMessage
from appliance.web.security.audited import Watch
from appliance.web.security.caller import Caller, caller
from appliance.web.security.policy import VIEWER, is_operator, policy
from appliance.web.site import Site, site
from appliance.web.transport import websocket

blueprint = Blueprint("live", __name__)

BOUNDARY = "interview-grader-picture"

_SLICE_BYTES = 16_384
_WAIT_S = 1.0
_SNAPSHOT_S = 3.0


@blueprint.get("/")
@policy(VIEWER)
@describe({200: HTML})
def page() -> str:
    """The live page."""
    here = site()
    return render_template(
        "live.html",
        version=__version__,
        notice=here.notice,
        emotions=EMOTIONS,
        open_to_network=here.open_to_network,
        camera_lamp=here.camera_lamp,
        needs_consent=here.session.needs_consent,
        operator=is_operator(),
        terms=here.terms,
        regions=REGIONS,
        purposes=PURPOSES,
        institutions=INSTITUTIONS,
    )


@blueprint.get("/stream.mjpg")
@policy(VIEWER)
@describe({200: MJPEG, 409: Problem, 503: Problem}, query=OverlayQuery)
def stream() -> Response:
    """The picture as it comes, until the viewer or the consent ends; 409 while idle."""
    pictures = Pictures(site(), _variant(), caller())
    Watch("picture").saw()
    response = Response(Parts(pictures), mimetype=f"multipart/x-mixed-replace; boundary={BOUNDARY}")
    response.headers["X-Accel-Buffering"] = "no"
    return response


@blueprint.get("/snapshot.jpg")
@policy(VIEWER)
@describe({200: JPEG, 409: Problem, 503: JPEG}, query=OverlayQuery)
def snapshot() -> Response:
    """The newest picture; the one that says why there is none comes with 503."""
    pictures = Pictures(site(), _variant(), caller())
    try:
        picture = pictures.next(_SNAPSHOT_S)
    finally:
        pictures.close()
    if picture is None:
        raise StateConflict("there is no picture: the camera was closed just now")
    Watch("picture").saw()
    response = Response(
        picture.jpegs[pictures.variant], mimetype="image/jpeg", status=200 if picture.live else 503
    )
    response.headers.update(_stamps(picture))
    return response


@websocket.route(blueprint, "/ws/live")
@policy(VIEWER)
@describe({101: None, 400: None, 426: None, 503: Problem}, messages=ReadingMessage)
def readings() -> Response:
    """One JSON message a reading; whoever is slow gets the newest and misses the rest."""
    here = site()
    watch = Watch("readings")
    newest = _Newest(here, caller(), watch)
    answer = websocket.websocket(request.environ, lambda client: websocket.serve(client, newest))
    if answer.status_code == 101:
        here.listeners.join("readings")
        watch.saw()
        answer.call_on_close(lambda: here.listeners.leave("readings"))
    return answer


class Pictures:
    """One viewer's pictures: newest first, never an old one. Counts as a viewer until `close`."""

    def __init__(self, here: Site, variant: str, viewer: Caller) -> None:
        """Raises `StateConflict` while idle and `TooManyViewers` at the limit."""
        if not here.session.consent_epoch:
            raise StateConflict(
                "idle: the camera is closed until everyone in view has agreed; press Start on the page"
            )
        self.variant = variant
        self._site, self._viewer = here, viewer
        self._consent_epoch = here.session.consent_epoch
        self._seen = here.jpegs.number
        here.viewers.join(variant)
        self._joined = True

    def next(self, limit_s: float) -> Picture | None:
        """The next picture; None when the consent ended, the server stops, or `limit_s` is over."""
        end = time.monotonic() + limit_s
        while self.has_consent and time.monotonic() < end:
            try:
                picture, self._seen = self._site.jpegs.take(self._seen, _WAIT_S)
            except SlotClosed:
                return None
            if (
                picture is not None
                and picture.consent_epoch == self._consent_epoch
                and self.variant in picture.jpegs
            ):
                return picture if self.has_consent else None  # it may have ended while we waited
        return None

    @property
    def has_consent(self) -> bool:
        """Whether the consent under which this viewer came is in force, and the viewer still welcome."""
        return self._consent_epoch == self._site.session.consent_epoch and self._viewer.is_welcome(self._site)

    def close(self) -> None:
        """No viewer any more. May be called twice."""
        if self._joined:
            self._joined = False
            self._site.viewers.leave(self.variant)


class Parts:
    """The body of `/stream.mjpg`. A class, since a generator that never began is never closed."""

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures
        self._slices = self._cut()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._slices)

    def close(self) -> None:
        """The viewer has left. May be called twice."""
        self._pictures.close()

    def _cut(self) -> Iterator[bytes]:
        """The parts in slices, so that a slow viewer's picture ends in its middle when people say Stop."""
        boundary = f"--{BOUNDARY}\r\n".encode()
        first = boundary
        while (picture := self._pictures.next(float("inf"))) is not None:
            jpeg = picture.jpegs[self._pictures.variant]
            headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(jpeg)), **_stamps(picture)}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            # The next boundary goes out with the picture: browsers show a part only when they see its end.
            part = b"".join((first, head.encode(), b"\r\n", jpeg, b"\r\n", boundary))
            for start in range(0, len(part), _SLICE_BYTES):
                if not self._pictures.has_consent:
                    return
                yield part[start : start + _SLICE_BYTES]
            first = b""


class _Newest:
    """The text for the next message of one WebSocket client."""

    def __init__(self, here: Site, viewer: Caller, watch: Watch) -> None:
        self._site, self._viewer, self._watch, self._seen = here, viewer, watch, 0

    def __call__(self) -> str | None:
        if not self._viewer.is_welcome(self._site):
            raise SlotClosed("the login has ended")
        reading, self._seen = self._site.readings.take(self._seen, 0.5)
        if reading is None:
            return None
        newest = self._site.reading()
        if newest is None:
            return None
        self._watch.saw()  # whoever came while idle sees this session too
        return json.dumps(newest, separators=(",", ":"))


def _variant() -> str:
    return BARE if request.args.get("overlay") == "0" else OVERLAY


def _stamps(picture: Picture) -> dict[str, str]:
    captured = time.time() - (time.monotonic() - picture.captured)
    return {
        "X-Frame-Number": str(picture.frame),
        "X-Timestamp": f"{captured:.6f}",
        "X-Live": str(int(picture.live)),
    }
