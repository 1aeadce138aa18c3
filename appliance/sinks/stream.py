"""The video for viewers: drawn on a copy, encoded once for all viewers, and only while someone watches."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import cv2

from appliance.consent.session import Session
from appliance.errors import ApplianceError
from appliance.handoff import Slot
from appliance.health import Health
from appliance.sinks.drawing import draw_people, placeholder
from appliance.values import Image, Picture, Reading
from appliance.viewers import OVERLAY, Viewers

_PLACEHOLDER_EVERY_S = 1.0
_DEFAULT_SIZE = 1280, 720


class Stream:
    """Publishes pictures to the `jpegs` slot."""

    def __init__(
        self, viewers: Viewers, jpegs: Slot[Picture], session: Session, health: Health, *, quality: int
    ) -> None:
        """`quality`: the JPEG quality, 10 to 100."""
        self._viewers, self._jpegs = viewers, jpegs
        self._session, self._health = session, health
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._size = _DEFAULT_SIZE
        self._number = 0
        self._last_live = self._last_placeholder = 0.0

    def take(self, reading: Reading) -> None:
        """Encode the variants that have viewers."""
        frame = reading.frame
        self._size, self._number, self._last_live = (
            (frame.width, frame.height),
            frame.number,
            time.monotonic(),
        )
        wanted = self._viewers.watched_variants()
        if not wanted:
            return
        pictures = {
            variant: draw_people(frame.image, reading.people) if variant == OVERLAY else frame.image
            for variant in wanted
        }
        self._publish(
            Picture(frame.number, frame.captured, frame.consent_epoch, True, self._encoded(pictures))
        )

    def idle(self) -> None:
        """Once a second, show viewers why there is no picture."""
        now = time.monotonic()
        if not self._session.consent_epoch:
            self._jpegs.clear()
            return
        wanted = self._viewers.watched_variants()
        # While the camera is open, ignore a short gap; once it is lost, the last face must disappear at once.
        quiet_since = self._last_live if self._health.camera.state == "open" else 0.0
        if not wanted or now - max(quiet_since, self._last_placeholder) < _PLACEHOLDER_EVERY_S:
            return
        self._last_placeholder = now
        image = placeholder(*self._size, self._explanation())
        encoded = self._encode(image)
        jpegs = dict.fromkeys(wanted, encoded)
        self._publish(Picture(self._number, now, self._session.consent_epoch, False, jpegs))

    def close(self) -> None:
        """Do nothing: closing the slot ends the viewers."""

    def _publish(self, picture: Picture) -> None:
        if picture.consent_epoch == self._session.consent_epoch:
            self._jpegs.put(picture)

    def _explanation(self) -> list[str]:
        camera = self._health.camera
        if camera.state != "lost":
            return ["NO LIVE VIDEO", "waiting for the first picture"]
        since = datetime.fromtimestamp(camera.since, timezone.utc).astimezone()
        return ["NO LIVE VIDEO", camera.reason or "camera lost", f"since {since:%H:%M:%S}, retrying"]

    def _encoded(self, pictures: dict[str, Image]) -> dict[str, bytes]:
        return {variant: self._encode(image) for variant, image in pictures.items()}

    def _encode(self, image: Image) -> bytes:
        done, data = cv2.imencode(".jpg", image, self._options)
        if not done:
            raise ApplianceError(f"a picture of {image.shape} cannot be encoded as JPEG")
        self._health.count("encoded", 1)
        return data.tobytes()
