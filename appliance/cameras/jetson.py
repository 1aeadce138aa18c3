"""The ribbon camera of a Jetson, with GStreamer: nvarguscamerasrc into an appsink, read with PyGObject.

The opencv-python-headless wheel has no GStreamer, so this bypasses OpenCV. Written from
https://docs.nvidia.com/jetson/archives/r36.4/DeveloperGuide/SD/CameraDevelopment.html; it has not run on a
Jetson: the tests use another source in the same pipeline.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import BackendMissing, CameraLost
from appliance.media.shrink import frame_of
from appliance.ports import CameraDefaults, Discovery
from appliance.values import Frame, Image

log = logging.getLogger("appliance.camera")

SENSOR = "nvarguscamerasrc"
DEVICES = Path("/dev")
_OPEN_S = 5.0
_MESSAGES_S = 0.2


class JetsonSettings(RotatableSettings):
    """Settings of `camera.backend = "jetson"`."""

    sensor: int = Field(0, ge=0, le=15, description="Number of the sensor (sensor-id).")
    width: int = Field(1280, ge=16, le=7680, description="Requested width, in pixels.")
    height: int = Field(720, ge=16, le=4320, description="Requested height, in pixels.")
    fps: int = Field(30, ge=2, le=240, description="Requested frames per second.")
    source: str = Field("", description="GStreamer elements to use instead of the sensor; empty: the sensor.")


class Jetson(CameraDefaults):
    """One sensor. Logs its GStreamer pipeline."""

    Settings = JetsonSettings
    argument = "sensor"
    needs_consent = True

    def __init__(self, settings: JetsonSettings) -> None:
        self._settings = settings
        self._gst = load_gstreamer()
        self._pipeline: Any = None
        self._sink: Any = None
        self._number = 0
        self._opened = 0.0

    @staticmethod
    def discover() -> Discovery:
        """Look for a sensor without starting it."""
        reason = _why_no_sensor(load_gstreamer())
        return Discovery(not reason, reason or "a sensor")

    def missing(self) -> str | None:
        """Why the sensor is missing."""
        return None if self._settings.source else _why_no_sensor(self._gst)

    def open(self) -> None:
        """Start the pipeline; raises `CameraLost` with GStreamer's reason."""
        self.close()
        if reason := self.missing():
            raise CameraLost(reason)
        words = make_pipeline(self._settings)
        try:
            self._pipeline = self._gst.parse_launch(words)
        except Exception as error:  # GLib.Error, known only once gi is imported
            raise CameraLost(f"GStreamer cannot build it: {error}; correct camera.source") from error
        self._sink = self._pipeline.get_by_name("sink")
        self._pipeline.set_state(self._gst.State.PLAYING)
        outcome, _, _ = self._pipeline.get_state(int(_OPEN_S * self._gst.SECOND))
        if outcome == self._gst.StateChangeReturn.FAILURE:
            reason = self._read_error() or "the sensor cannot be started; is another program using it?"
            self.close()
            raise CameraLost(reason)
        self._opened = time.monotonic()
        log.info("jetson: %s", words)

    def read(self, timeout: float) -> Frame:
        """The next frame, blue-green-red."""
        if self._sink is None:
            raise CameraLost("the camera is not open")
        sample = self._sink.try_pull_sample(int(timeout * self._gst.SECOND))
        if sample is None:
            raise CameraLost(self._read_error() or "the sensor delivers no frames; check its ribbon cable")
        now = time.monotonic()
        made = frame_of(self._to_image(sample))
        frame = replace(made, number=self._number, captured=now, time_s=now - self._opened)
        self._number += 1
        return frame

    def close(self) -> None:
        """Stop the pipeline and release the sensor."""
        if self._pipeline is not None:
            self._pipeline.set_state(self._gst.State.NULL)
        self._pipeline = self._sink = None

    def forget(self) -> None:
        """Do nothing: a number always means the same sensor."""

    def _to_image(self, sample: Any) -> Image:
        layout, buffer = sample.get_caps().get_structure(0), sample.get_buffer()
        width, height = layout.get_value("width"), layout.get_value("height")
        done, memory = buffer.map(self._gst.MapFlags.READ)
        if not done:
            raise CameraLost("GStreamer delivered a picture that cannot be read")
        try:
            rows = np.frombuffer(memory.data, np.uint8).reshape(
                height, -1
            )  # rows end at multiples of 4 bytes
            image: Image = rows[:, : 3 * width].reshape(height, width, 3).copy()
            return image
        finally:
            buffer.unmap(memory)

    def _read_error(self) -> str:
        """The error that the pipeline reports, or ""."""
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._pipeline.get_bus().timed_pop_filtered(int(_MESSAGES_S * self._gst.SECOND), kinds)
        if message is None:
            return ""
        if message.type == self._gst.MessageType.EOS:
            return "the source delivers no more frames"
        error, _ = message.parse_error()
        return f"GStreamer: {error.message}"


def make_pipeline(settings: JetsonSettings) -> str:
    """The pipeline in GStreamer's syntax. A full appsink drops its oldest frame, so that none is stale."""
    size = f"width={settings.width},height={settings.height},framerate={settings.fps}/1"
    sensor = (
        f"{SENSOR} sensor-id={settings.sensor} ! video/x-raw(memory:NVMM),{size},format=NV12"
        " ! nvvidconv ! video/x-raw,format=BGRx"
    )
    sink = "appsink name=sink max-buffers=1 drop=true sync=false"
    return f"{settings.source or sensor} ! videoconvert ! video/x-raw,format=BGR ! {sink}"


def load_gstreamer() -> Any:
    """Import and initialise GStreamer; raises `BackendMissing`."""
    gst = import_gstreamer()
    gst.init(None)
    return gst


def import_gstreamer() -> Any:
    """GStreamer, not yet initialised; raises `BackendMissing`."""
    # GStreamer loads libunwind, whose stack unwinder has the same names as GCC's. Where a package already
    # uses GCC's, the two mix, and the next C++ exception (a model that LiteRT refuses) crashes the process.
    # GCC's, made global first, is the only one found.
    with suppress(OSError):
        ctypes.CDLL("libgcc_s.so.1", mode=ctypes.RTLD_GLOBAL)
    try:
        gi = importlib.import_module("gi")
        gi.require_version("Gst", "1.0")
        gi.require_version("GstApp", "1.0")
        gst = importlib.import_module("gi.repository.Gst")
        importlib.import_module("gi.repository.GstApp")  # gives the appsink its methods
    except (ImportError, ValueError) as error:
        raise BackendMissing(
            f"GStreamer for Python is missing ({error}); sudo apt-get install python3-gi"
            " gir1.2-gst-plugins-base-1.0 gstreamer1.0-plugins-good",
            key="camera.backend",
            value="jetson",
        ) from error
    return gst


def _why_no_sensor(gst: Any) -> str | None:
    if gst.ElementFactory.find(SENSOR) is None:
        return f"GStreamer has no {SENSOR}: this is not a Jetson, or its multimedia packages are missing"
    if not any(DEVICES.glob("video*")):
        return "no sensor at /dev/video*; connect its ribbon cable and set it up with jetson-io"
    return None
