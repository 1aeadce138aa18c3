"""A phone or laptop as the camera: its browser sends pictures to `/ws/camera`."""

from __future__ import annotations

import time
from dataclasses import replace

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import CameraLost, PictureError
from appliance.media.ingest import Ingest
from appliance.media.jpeg import JpegDecoder
from appliance.ports import CameraDefaults
from appliance.values import Frame


class BrowserSettings(RotatableSettings):
    """Settings of `camera.backend = "browser"`."""


class Browser(CameraDefaults):
    """The pictures of one browser. `ingest`: where the web server hands them over."""

    Settings = BrowserSettings
    needs_consent = True

    def __init__(self, settings: BrowserSettings) -> None:
        self.ingest = Ingest()
        self._jpegs = JpegDecoder()
        self._is_open = False
        self._number = 0
        self._opened = 0.0

    def missing(self) -> str | None:
        """Why no browser is connected."""
        return self.ingest.absence()

    def open(self) -> None:
        """Let the browser send."""
        self.close()
        self._jpegs, self._opened = JpegDecoder(), time.monotonic()
        self.ingest.open()
        self._is_open = True

    def read(self, timeout: float) -> Frame:
        """The newest intact frame that was not read yet."""
        if not self._is_open:
            raise CameraLost("the camera is not open")
        end = time.monotonic() + timeout
        while True:
            picture = self.ingest.take(max(0.0, end - time.monotonic()))
            try:
                made = self._jpegs.decode(picture.jpeg)
            except PictureError as error:
                if time.monotonic() > end:
                    raise CameraLost(f"the browser sends damaged pictures: {error}") from error
                continue
            arrived = picture.arrived
            frame = replace(made, number=self._number, captured=arrived, time_s=arrived - self._opened)
            self._number += 1
            return frame

    def close(self) -> None:
        """Let the browser send nothing more."""
        self.ingest.close()
        self._is_open = False

    def forget(self) -> None:
        """Let another browser become the camera."""
        self.ingest.forget()
