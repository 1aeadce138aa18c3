"""A USB camera (V4L2) through OpenCV; MJPG first, since raw 720p at 30 fps does not fit through USB 2."""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import time
from pathlib import Path

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from appliance.errors import CameraLost
from appliance.ports import Presence
from appliance.values import Frame

log = logging.getLogger("appliance.camera")

_VIDIOC_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), <linux/videodev2.h>
_CAP_VIDEO_CAPTURE = 0x00000001
_NOT_CAMERAS = ("bcm2835-isp", "bcm2835-codec", "unicam", "rp1-cfe", "pispbe", "rpi-hevc-dec", "rpivid")
"""Drivers whose capture nodes are a Pi's own image pipeline; its camera is read with `csi`."""


class UsbSettings(BaseModel):
    """Settings of `camera.backend = "usb"`."""

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    device: str = Field(
        "", description="Device (/dev/video0, a by-id path) or its number; empty: the first found."
    )
    width: int = Field(1280, ge=16, le=7680, description="Width to ask for, in pixels.")
    height: int = Field(720, ge=16, le=4320, description="Height to ask for, in pixels.")
    fps: float = Field(30.0, gt=0, le=240, description="Frames a second to ask for.")
    fourcc: str = Field("MJPG", pattern="^[ -~]{4}$", description="Pixel format to ask for first.")


class Usb:
    """One V4L2 device. What was asked for and what was obtained stands in the log."""

    Settings = UsbSettings
    argument = "device"
    needs_agreement = True

    def __init__(self, settings: UsbSettings) -> None:
        self._settings = settings
        self._capture: cv2.VideoCapture | None = None
        self._number = 0
        self._opened = 0.0

    @staticmethod
    def present() -> Presence:
        """Whether a V4L2 capture device answers; nothing is started."""
        devices = find_devices()
        if devices:
            return Presence(True, ", ".join(f"{name} at {path}" for path, name in devices.items()))
        return Presence(False, "no V4L2 capture device among /dev/video*")

    def missing(self) -> str | None:
        """Why no such device is there."""
        try:
            self._device()
        except CameraLost as lost:
            return str(lost)
        return None

    def open(self) -> None:
        """Start the device with the size and rate nearest to what was asked for."""
        self.close()
        path = self._device()
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise CameraLost(f"{path} cannot be opened; is another program using it, may this user read it?")
        wanted = self._settings
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._capture, self._opened = capture, time.monotonic()
        log.info("%s: asked for %s, obtained %s", path, _shown(wanted), self._obtained())

    def read(self, timeout: float) -> Frame:
        """The next frame; OpenCV itself waits 2 s at most, set before it was loaded."""
        if self._capture is None:
            raise CameraLost("the camera is not open")
        done, image = self._capture.read()
        if not done or image is None:
            raise CameraLost(f"{self._device()} delivers no frames; was it unplugged?")
        now = time.monotonic()
        frame = Frame(self._number, now, np.asarray(image, np.uint8), now - self._opened)
        self._number += 1
        return frame

    def close(self) -> None:
        """Stop the device and let it go."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _device(self) -> Path:
        named = self._settings.device
        if named:
            path = Path(f"/dev/video{named}" if named.isdigit() else named)
            if not path.exists():
                raise CameraLost(
                    f"{path} is not there; plug the camera in, or name another with camera.device"
                )
            return path
        devices = find_devices()
        if not devices:
            raise CameraLost("no V4L2 capture device among /dev/video*; plug the camera in")
        return next(iter(devices))

    def _obtained(self) -> str:
        assert self._capture is not None
        width, height, fps, code = (
            self._capture.get(key)
            for key in (
                cv2.CAP_PROP_FRAME_WIDTH,
                cv2.CAP_PROP_FRAME_HEIGHT,
                cv2.CAP_PROP_FPS,
                cv2.CAP_PROP_FOURCC,
            )
        )
        fourcc = int(code).to_bytes(4, "little", signed=True).decode("ascii", "replace")
        return f"{width:.0f}x{height:.0f} at {fps:g} fps, {fourcc}"


def find_devices() -> dict[Path, str]:
    """The V4L2 capture devices that are there, path to card name, asked with VIDIOC_QUERYCAP only."""
    paths = sorted(Path("/dev").glob("video[0-9]*"), key=lambda path: int(path.name[5:]))
    return {path: card for path in paths if (card := _capture_card(path)) is not None}


class _Capability(ctypes.Structure):
    """`struct v4l2_capability` of <linux/videodev2.h>."""

    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", ctypes.c_uint32),
        ("capabilities", ctypes.c_uint32),
        ("device_caps", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 3),
    )


def _capture_card(path: Path) -> str | None:
    answer = _Capability()
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.ioctl(handle, _VIDIOC_QUERYCAP, answer)
    except OSError:
        return None
    finally:
        os.close(handle)
    is_camera = answer.device_caps & _CAP_VIDEO_CAPTURE and answer.driver.decode() not in _NOT_CAMERAS
    return answer.card.decode("utf-8", "replace") if is_camera else None


def _shown(wanted: UsbSettings) -> str:
    return f"{wanted.width}x{wanted.height} at {wanted.fps:g} fps, {wanted.fourcc}"
