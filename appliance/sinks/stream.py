"""The video for viewers: each variant encoded once for all viewers, and only if one of them takes it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone

import cv2
import numpy as np

from appliance.consent.session import Session
from appliance.errors import ApplianceError
from appliance.handoff import Slot
from appliance.health import Health
from appliance.sinks.drawing import draw_people, placeholder
from appliance.sinks.reading_matcher import ReadingMatcher
from appliance.values import Frame, Image, Person, Picture, PictureVariant, Reading
from appliance.viewers import Viewers

_PLACEHOLDER_EVERY_S = 1.0
_DEFAULT_SIZE = 1280, 720

_MOST_BYTES = 1.5
"""The camera's own JPEG may have this many times the bytes of ours: encoding costs more than sending them."""

_MEASURE_EVERY_S = 5.0
"""How often a frame is encoded to compare."""


class Stream:
    """Publishes a picture for each frame to the `jpegs` slot."""

    def __init__(
        self,
        viewers: Viewers,
        jpegs: Slot[Picture],
        readings: Slot[Reading],
        session: Session,
        health: Health,
        *,
        quality: int,
    ) -> None:
        """`quality`: the JPEG quality, 10 to 100."""
        self._viewers, self._jpegs = viewers, jpegs
        self._session, self._health = session, health
        self._readings = ReadingMatcher(readings)
        self._own_bytes = _OwnBytes()
        self._options = [cv2.IMWRITE_JPEG_QUALITY, quality]
        self._size = _DEFAULT_SIZE
        self._number = 0
        self._last_live = self._last_placeholder = 0.0
        self._shown_at = -math.inf  # capture time of the last frame shown

    def take(self, frame: Frame) -> None:
        """Encode the variants that a viewer takes now; may wait for the reading of the frame."""
        self._size, self._number, self._last_live = (
            (int(frame.image.shape[1]), int(frame.image.shape[0])),
            frame.number,
            time.monotonic(),
        )
        now = self._session.snapshot
        self._readings.begin(now.consent_epoch, now.consent)
        wanted = self._viewers.wanted_variants()
        if not wanted:
            return
        if self._readings.follows_readings(frame):
            reading = self._readings.next_reading(frame)
            if reading is not None:
                self._show(reading.frame, wanted, lambda: reading)
        else:
            self._show(frame, wanted, lambda: self._readings.reading_for(frame))

    def _show(
        self, frame: Frame, wanted: list[PictureVariant], reading_of: Callable[[], Reading | None]
    ) -> None:
        if frame.captured <= self._shown_at:
            return  # a frame that was read late, after a newer one was shown
        self._shown_at = frame.captured
        encoder = _FrameEncoder(frame, self._encode, self._own_bytes)
        # Pictures without boxes are encoded while vision still reads the frame.
        jpegs = {variant: encoder.plain(variant) for variant in wanted if not variant.overlay}
        reading = reading_of()
        people = reading.people if reading else ()
        jpegs |= {variant: encoder.with_overlay(variant, people) for variant in wanted if variant.overlay}
        kept = replace(reading, frame=reading.frame.without_pixels()) if reading else None
        width = int(frame.image.shape[1])
        self._publish(Picture(frame.number, frame.captured, frame.consent_epoch, True, jpegs, kept, width))

    def idle(self) -> None:
        """Once a second, show viewers why there is no picture."""
        now = time.monotonic()
        snapshot = self._session.snapshot
        self._readings.begin(snapshot.consent_epoch, snapshot.consent)
        if not snapshot.consent_epoch:
            self._jpegs.clear()
            return
        wanted = self._viewers.wanted_variants()
        # While the camera is open, ignore a short gap; once it is lost, the last face must disappear at once.
        quiet_since = self._last_live if self._health.camera.state == "open" else 0.0
        if not wanted or now - max(quiet_since, self._last_placeholder) < _PLACEHOLDER_EVERY_S:
            return
        self._last_placeholder = now
        image = placeholder(*self._size, self._explanation())
        encoded = self._encode(image)
        jpegs = dict.fromkeys(wanted, encoded)
        width = self._size[0]
        self._publish(Picture(self._number, now, snapshot.consent_epoch, False, jpegs, width=width))

    def _publish(self, picture: Picture) -> None:
        if picture.consent_epoch == self._session.consent_epoch:
            self._jpegs.put(picture)

    def _explanation(self) -> list[str]:
        camera = self._health.camera
        if camera.state != "lost":
            return ["NO LIVE VIDEO", "waiting for the first picture"]
        since = datetime.fromtimestamp(camera.since, timezone.utc).astimezone()
        return ["NO LIVE VIDEO", camera.reason or "camera lost", f"since {since:%H:%M:%S}, retrying"]

    def _encode(self, image: Image) -> bytes:
        done, data = cv2.imencode(".jpg", image, self._options)
        if not done:
            raise ApplianceError(f"a picture of {image.shape} cannot be encoded as JPEG")
        self._health.count("encoded", 1)
        return data.tobytes()


class _OwnBytes:
    """Decides whether viewers get the camera's own JPEG: if it is not much larger than ours would be."""

    def __init__(self) -> None:
        self._ratio = 0.0
        self._measure_at = 0.0

    def fit(self, frame: Frame, encode: Callable[[], bytes]) -> bool:
        """Whether the JPEG of the frame is small enough; `encode` makes ours, once in a while."""
        if frame.jpeg is None:
            return False
        if frame.captured >= self._measure_at:
            ratio = len(frame.jpeg) / len(encode())
            self._ratio = (self._ratio + ratio) / 2 if self._measure_at else ratio
            self._measure_at = frame.captured + _MEASURE_EVERY_S
        return self._ratio <= _MOST_BYTES


class _FrameEncoder:
    """Encodes one frame in several variants; each size is made once, and each picture encoded once."""

    def __init__(self, frame: Frame, encode: Callable[[Image], bytes], own_bytes: _OwnBytes) -> None:
        self._frame, self._encode, self._own_bytes = frame, encode, own_bytes
        self._full_width = int(frame.image.shape[1])
        self._images = {self._full_width: frame.image}
        self._encoded: dict[tuple[bool, int], bytes] = {}

    def plain(self, variant: PictureVariant) -> bytes:
        """The JPEG of a variant without overlay: the camera's own, or ours."""
        fits = variant.max_width is None or variant.max_width >= self._full_width
        if fits and self._frame.jpeg and self._own_bytes.fit(self._frame, lambda: self._plain(variant)):
            return self._frame.jpeg
        return self._plain(variant)

    def with_overlay(self, variant: PictureVariant, people: tuple[Person, ...]) -> bytes:
        """The JPEG of a variant with these people drawn in."""
        source_width = self._frame.width
        return self._once(variant, lambda image: draw_people(image, people, image.shape[1] / source_width))

    def _plain(self, variant: PictureVariant) -> bytes:
        return self._once(variant, lambda image: image)

    def _once(self, variant: PictureVariant, draw: Callable[[Image], Image]) -> bytes:
        width = min(variant.max_width or self._full_width, self._full_width)
        if (variant.overlay, width) not in self._encoded:
            self._encoded[variant.overlay, width] = self._encode(draw(self._image(width)))
        return self._encoded[variant.overlay, width]

    def _image(self, width: int) -> Image:
        if width not in self._images:
            image = self._frame.image
            size = width, max(1, round(image.shape[0] * width / self._full_width))
            self._images[width] = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return self._images[width]
