"""One viewer of `/ws/pictures`: which picture it gets, how wide, and the answers to what it says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from pydantic import ValidationError

from appliance.values import Picture, PictureVariant
from appliance.viewers import snap_width
from appliance.web.api.models import ViewerMessage
from appliance.web.delivery import READY_S, Delivery

SILENT_S = 20.0
"""After this long without an acknowledgement a viewer loses its place: it may hang, and see no picture."""


class PictureViewer:
    """Decides for one viewer, from what it asked for and what it acknowledges. Knows no sockets."""

    def __init__(
        self, *, width: int | None, fps: float | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`width` in pixels and `fps`: what the viewer wants at most."""
        self._clock = clock
        self._delivery = Delivery(clock(), max_width=snap_width(width) if width else None, fps=fps)

    @property
    def variant(self) -> PictureVariant:
        """The variant of the next picture; it changes when the viewer says what it shows."""
        return PictureVariant(overlay=False, max_width=self._delivery.max_width)

    def accepts(self, picture: Picture) -> bool:
        """Whether to send this picture, the newest, now."""
        return self.variant in picture.jpegs and self._delivery.may_send(self._clock())

    def is_ready(self) -> bool:
        """Whether it takes a picture now, or loses its place with it; for each frame, in any thread."""
        # One that was full when a picture came may have more under way.
        return self._delivery.may_send(self._clock() + READY_S) or self.is_silent

    @property
    def is_silent(self) -> bool:
        """Whether a picture has not been acknowledged for `SILENT_S` seconds."""
        return self._delivery.waits_s(self._clock()) > SILENT_S

    def sent(self, picture: Picture) -> None:
        """This picture is being sent."""
        self._delivery.sent(picture.frame, picture.width, self._clock())

    def hear(self, message: str | bytes) -> str | None:
        """Take a message of the viewer; returns the answer, if there is one.

        Raises `ValueError` for a message that is not as `ViewerMessage` describes.
        """
        now = self._clock()
        try:
            said = ViewerMessage.model_validate_json(message)
        except ValidationError as error:
            given = ascii(message)[:40]  # the reason of a close has room for 123 bytes
            raise ValueError(f"not understood: {given}; see ViewerMessage in /api/openapi.json") from error
        if said.round_trip_ms is not None:
            self._delivery.set_round_trip(said.round_trip_ms / 1000)
        if said.shown is not None:
            self._delivery.shown(said.shown, now)
        if said.clock_ms is None:
            return None
        return json.dumps({"clock_ms": said.clock_ms, "now_s": round(now, 6)})
