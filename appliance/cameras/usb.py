"""A USB camera (V4L2) with OpenCV; MJPG first, since USB 2 is too slow for raw 720p at 30 fps.

OpenCV delivers MJPG pictures undecoded, so that viewers can get the camera's own bytes. `media.jpeg` decodes
them three times as fast as OpenCV, and detects damage.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import logging
import os
import re
import struct
import time
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from pydantic import ConfigDict, Field

from appliance.cameras.rotation import RotatableSettings
from appliance.errors import CameraLost, PictureError
from appliance.media.jpeg import JpegDecoder
from appliance.media.shrink import frame_of
from appliance.ports import CameraDefaults, Discovery
from appliance.values import Frame, Image

log = logging.getLogger("appliance.camera")

DEVICES = Path("/dev")
"""The folder of video devices."""

_VIDIOC_QUERYCAP = 0x80685600  # _IOR('V', 0, struct v4l2_capability), <linux/videodev2.h>
_VIDIOC_REQBUFS = 0xC0145608  # _IOWR('V', 8, struct v4l2_requestbuffers)
_CAP_VIDEO_CAPTURE = 0x00000001
_JPEG_FORMATS = ("MJPG", "JPEG")
_NOT_CAMERAS = ("bcm2835-isp", "bcm2835-codec", "unicam", "rp1-cfe", "pispbe", "rpi-hevc-dec", "rpivid")
"""Drivers of the Raspberry Pi's image pipeline; `csi` reads its camera."""


class UsbSettings(RotatableSettings):
    """Settings of `camera.backend = "usb"`."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    device: str = Field(
        "", description="Device (/dev/video0 or a by-id path) or its number; empty: the first one found."
    )
    width: int = Field(1280, ge=16, le=7680, description="Requested width, in pixels.")
    height: int = Field(720, ge=16, le=4320, description="Requested height, in pixels.")
    fps: float = Field(30.0, ge=2, le=240, description="Requested frames per second.")
    fourcc: str = Field("MJPG", pattern="^[ -~]{4}$", description="Preferred pixel format.")


@dataclass(frozen=True)
class Device:
    """A V4L2 capture device: its current path, and what identifies it under any path."""

    path: Path
    card: str
    bus: str

    def is_same(self, other: Device) -> bool:
        """Whether it is the same camera, possibly under another path."""
        return (self.card, self.bus) == (other.card, other.bus)


class CameraInaccessible(CameraLost):
    """A device that exists but that this process cannot use: no permission, or in use."""


class Usb(CameraDefaults):
    """One V4L2 device. Logs what was requested and what was obtained."""

    Settings = UsbSettings
    argument = "device"
    needs_consent = True

    def __init__(self, settings: UsbSettings) -> None:
        self._settings = settings
        self._capture: cv2.VideoCapture | None = None
        self._device: Device | None = None
        self._jpegs = JpegDecoder()
        self._damage_logged = False
        self._number = 0
        self._opened = 0.0

    @staticmethod
    def discover() -> Discovery:
        """Query V4L2 devices; starts none."""
        devices, inaccessible = find_devices()
        if devices:
            return Discovery(True, ", ".join(f"{each.card} at {each.path}" for each in devices))
        return Discovery(False, str(inaccessible or "no V4L2 capture device at /dev/video*"))

    def missing(self) -> str | None:
        """Why the device is missing."""
        try:
            self._choose()
        except CameraLost as lost:
            return str(lost)
        return None

    def open(self) -> None:
        """Start the device with the size and rate nearest to the settings."""
        self.close()
        device = self._choose()
        path = device.path
        capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            reason = f"another program is using {path}" if _is_busy(path) else f"{path} cannot be opened"
            raise CameraLost(f"{reason}; close that program, or choose another camera with camera.device")
        wanted = self._settings
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.fourcc))
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, wanted.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, wanted.height)
        capture.set(cv2.CAP_PROP_FPS, wanted.fps)
        # Two, because OpenCV copies an undecoded picture only after it gave its buffer back to the driver.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 2)
        if _obtained_format(capture) in _JPEG_FORMATS:
            capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        self._jpegs = JpegDecoder()
        self._capture, self._device, self._opened = capture, device, time.monotonic()
        log.info("%s: requested %s, obtained %s", path, _describe(wanted), self._obtained())

    def read(self, timeout: float) -> Frame:
        """The next intact frame; OpenCV waits at most 2 s, which `system.native` sets before loading it."""
        end = time.monotonic() + timeout
        while True:
            data = self._read_picture()
            now = time.monotonic()
            try:
                made = self._decode(data)
            except PictureError as error:
                self._log_damage(str(error))
                if now > end:
                    raise CameraLost(f"{error}; try another cable or USB port") from error
                continue
            frame = replace(made, number=self._number, captured=now, time_s=now - self._opened)
            self._number += 1
            return frame

    def close(self) -> None:
        """Stop and release the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def forget(self) -> None:
        """Let the next `open` choose another device."""
        self._device = None

    def _choose(self) -> Device:
        # People agreed to the camera that they saw: no other may replace it.
        if self._device is not None:
            return _find_again(self._device)
        if named := self._settings.device:
            return query_device(DEVICES / f"video{named}" if named.isdigit() else Path(named))
        devices, inaccessible = find_devices()
        if devices:
            return devices[0]
        raise inaccessible or CameraLost("no V4L2 capture device at /dev/video*; plug in the camera")

    def _read_picture(self) -> Image:
        """The next picture: pixels, or the bytes of a JPEG in one row."""
        if self._capture is None or self._device is None:
            raise CameraLost("the camera is not open")
        done, data = self._capture.read()
        if not done or data is None:
            raise CameraLost(f"{self._device.path} delivers no frames; was it unplugged?")
        return np.asarray(data, np.uint8)

    def _decode(self, data: Image) -> Frame:
        """A frame without number and time; raises `PictureError` for a damaged JPEG."""
        if data.ndim == 3 and data.shape[2] == 3:
            return frame_of(data)
        return self._jpegs.decode(data.tobytes())

    def _log_damage(self, reason: str) -> None:
        level = logging.DEBUG if self._damage_logged else logging.WARNING
        log.log(level, "a picture is left out: %s", reason)
        self._damage_logged = True

    def _obtained(self) -> str:
        assert self._capture is not None
        width, height, fps = (
            self._capture.get(key)
            for key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FPS)
        )
        return f"{width:.0f}x{height:.0f} at {fps:g} fps, {_obtained_format(self._capture)}"


def _obtained_format(capture: cv2.VideoCapture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    return code.to_bytes(4, "little", signed=True).decode("ascii", "replace")


def list_device_nodes() -> list[Path]:
    """The paths of all V4L2 devices of any kind; udev's other names are links to these."""
    paths = (path for path in DEVICES.glob("video*") if re.fullmatch(r"video[0-9]+", path.name))
    return sorted(paths, key=lambda path: int(path.name[5:]))


def find_devices() -> tuple[list[Device], CameraInaccessible | None]:
    """The usable capture devices, and the error of the first inaccessible one."""
    devices, inaccessible = [], None
    for path in list_device_nodes():
        try:
            devices.append(query_device(path))
        except CameraInaccessible as refusal:
            inaccessible = inaccessible or refusal
        except CameraLost:
            continue  # not a camera, or just unplugged
    return devices, inaccessible


def query_device(path: Path) -> Device:
    """The device at a path, queried only by VIDIOC_QUERYCAP; raises `CameraLost` if it is not a camera."""
    answer = _Capability()
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise _open_error(path, error) from error
    try:
        fcntl.ioctl(handle, _VIDIOC_QUERYCAP, answer)
    except OSError as error:
        raise _not_a_camera(path) from error
    finally:
        os.close(handle)
    if not answer.device_caps & _CAP_VIDEO_CAPTURE or _text(answer.driver) in _NOT_CAMERAS:
        raise _not_a_camera(path)
    return Device(path, _text(answer.card), _text(answer.bus_info))


def _find_again(before: Device) -> Device:
    """The same camera at its current path; of several, the one at the old path."""
    same = [each for each in find_devices()[0] if each.is_same(before)]
    if not same:
        raise CameraLost(
            f"{before.path} ({before.card}) is missing; plug it into the same port again, "
            "or end the session before using another camera"
        )
    return next((each for each in same if each.path == before.path), same[0])


def _open_error(path: Path, error: OSError) -> CameraLost:
    if error.errno in (errno.EACCES, errno.EPERM):
        return CameraInaccessible(f"no permission to open {path}; add this user to the group video")
    if error.errno == errno.EBUSY:
        return CameraInaccessible(f"another program is using {path}")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTDIR):
        return CameraLost(f"{path} is missing; plug in the camera, or choose another with camera.device")
    if error.errno == errno.EISDIR:
        return _not_a_camera(path)
    return CameraLost(f"{path} cannot be opened: {error.strerror}; choose another with camera.device")


def _not_a_camera(path: Path) -> CameraLost:
    return CameraLost(f"{path} is not a camera; choose another with camera.device")


def _is_busy(path: Path) -> bool:
    """Whether another program streams from it: then even requesting zero buffers fails."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        return error.errno == errno.EBUSY
    try:
        # struct v4l2_requestbuffers: count 0, type capture, memory mapped
        fcntl.ioctl(handle, _VIDIOC_REQBUFS, struct.pack("=5I", 0, 1, 1, 0, 0))
    except OSError as error:
        return error.errno == errno.EBUSY
    finally:
        os.close(handle)
    return False


def _text(field: bytes) -> str:
    return field.decode("utf-8", "replace")


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


def _describe(wanted: UsbSettings) -> str:
    return f"{wanted.width}x{wanted.height} at {wanted.fps:g} fps, {wanted.fourcc}"
