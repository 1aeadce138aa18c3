"""The ribbon camera of a Raspberry Pi, with picamera2, which is imported on demand."""

from __future__ import annotations

import concurrent.futures
import importlib
import logging
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import BackendMissing, CameraLost
from appliance.media.shrink import frame_of
from appliance.ports import CameraDefaults, Discovery
from appliance.values import Frame

log = logging.getLogger("appliance.camera")


class CsiSettings(RotatableSettings):
    """Settings of `camera.backend = "csi"`."""

    index: int = Field(
        0, ge=0, le=7, description="Number of the camera, as in `rpicam-hello --list-cameras`."
    )
    width: int = Field(1280, ge=16, le=4608, description="Width of the picture, in pixels.")
    height: int = Field(720, ge=16, le=2592, description="Height of the picture, in pixels.")
    fps: float = Field(30.0, ge=2, le=240, description="Frames per second.")
    hflip: bool = Field(False, description="Flip the picture horizontally.")
    vflip: bool = Field(False, description="Flip the picture vertically.")


@dataclass(frozen=True)
class _Listing:
    """A camera as libcamera lists it: its number, model and stable name."""

    number: int
    model: str
    name: str


class Csi(CameraDefaults):
    """One CSI camera. Uses picamera2's RGB888, which is blue, green, red in memory."""

    Settings = CsiSettings
    argument = "index"
    needs_consent = True

    def __init__(self, settings: CsiSettings) -> None:
        self._settings = settings
        self._library = load_picamera2()
        self._camera: Any = None
        self._kept: _Listing | None = None
        self._number = 0
        self._opened = 0.0

    @staticmethod
    def discover() -> Discovery:
        """Ask libcamera for cameras that are not webcams; starts none."""
        try:
            found = _list_cameras(load_picamera2())
        except BackendMissing as error:
            return Discovery(False, error.reason)
        except CameraLost as lost:
            return Discovery(False, str(lost))
        return Discovery(bool(found), ", ".join(each.model for each in found) or "libcamera lists no camera")

    def missing(self) -> str | None:
        """Why libcamera does not list the camera."""
        try:
            self._choose()
        except CameraLost as lost:
            return str(lost)
        return None

    def open(self) -> None:
        """Configure and start the camera."""
        self.close()
        wanted = self._settings
        chosen = self._choose()
        try:
            camera = self._library.Picamera2(chosen.number)
            self._camera = camera
            configuration = camera.create_video_configuration(
                main={"size": (wanted.width, wanted.height), "format": "RGB888"},
                controls={"FrameRate": wanted.fps},
                buffer_count=4,
            )
            if wanted.hflip or wanted.vflip:
                configuration["transform"] = self._flip()
            camera.configure(configuration)
            camera.start()
        except (RuntimeError, OSError, LookupError, ValueError, ImportError) as error:
            self.close()
            raise CameraLost(f"camera {wanted.index} cannot be started: {error}") from error
        self._kept, self._opened = chosen, time.monotonic()
        obtained = camera.camera_configuration()["main"]
        if obtained["format"] != "RGB888":
            self.close()
            raise CameraLost(f"camera {wanted.index} delivers {obtained['format']}, expected RGB888")
        size = obtained["size"]
        log.info("csi %d: requested %dx%d, obtained %dx%d", wanted.index, wanted.width, wanted.height, *size)

    def read(self, timeout: float) -> Frame:
        """The next frame within `timeout` seconds; raises `CameraLost` if there is none."""
        if self._camera is None:
            raise CameraLost("the camera is not open")
        try:
            request = self._camera.capture_request(wait=timeout)
        except (concurrent.futures.TimeoutError, RuntimeError, OSError) as error:
            raise CameraLost(
                f"camera {self._settings.index} delivers no frames: {str(error) or 'timeout'}"
            ) from error
        try:
            image = np.asarray(request.make_array("main"), np.uint8)
        finally:
            request.release()
        now = time.monotonic()
        frame = replace(frame_of(image), number=self._number, captured=now, time_s=now - self._opened)
        self._number += 1
        return frame

    def close(self) -> None:
        """Stop and release the camera."""
        if self._camera is None:
            return
        camera, self._camera = self._camera, None
        try:
            # No stop() first: it would block after a capture that timed out; close() ends that capture.
            camera.close()
        except (RuntimeError, OSError) as error:
            log.warning("csi %d: cannot be closed: %s", self._settings.index, error)

    def forget(self) -> None:
        """Let the next `open` use any camera that has this index by then."""
        self._kept = None

    def _choose(self) -> _Listing:
        found, index = _list_cameras(self._library), self._settings.index
        if self._kept is not None:
            # People agreed to the camera that they saw: no other may replace it.
            for each in found:
                if each.name == self._kept.name:
                    return each
            raise CameraLost(f"camera {index} ({self._kept.model}) is missing; check the ribbon cable")
        if index >= len(found):
            raise CameraLost(
                f"camera.index = {index}: libcamera lists {len(found)} cameras; check the ribbon cable"
            )
        return found[index]

    def _flip(self) -> Any:
        transform = importlib.import_module("libcamera").Transform
        return transform(hflip=int(self._settings.hflip), vflip=int(self._settings.vflip))


def _list_cameras(library: Any) -> list[_Listing]:
    """The cameras that libcamera lists, except webcams, which belong to `usb`."""
    try:
        found = list(library.Picamera2.global_camera_info())
    except Exception as error:  # the vendor's code may raise anything
        raise CameraLost(f"libcamera cannot list its cameras: {error}") from error
    listings = [
        _Listing(number, str(each.get("Model", "camera")), str(each.get("Id", "")))
        for number, each in enumerate(found)
    ]
    return [each for each in listings if "/usb@" not in each.name]


def load_picamera2() -> Any:
    """Import picamera2; raises `BackendMissing` that names the distribution's package."""
    try:
        return importlib.import_module("picamera2")
    except Exception as error:  # not only ImportError: a package built for another numpy raises ValueError
        raise BackendMissing(
            f"picamera2 cannot be loaded ({error}); on Raspberry Pi OS: sudo apt install python3-picamera2, "
            "and let the environment use system packages",
            key="camera.backend",
            value="csi",
        ) from error
