"""A stand-in for OpenCV's capture of a V4L2 device, pointed at a scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from appliance.cameras.usb import Device
from appliance.errors import CameraLost
from appliance.values import Image
from tests.fakes.files import encoded
from tests.fakes.parts import noise
from tests.fakes.scene import Scene

MJPG = cv2.VideoWriter.fourcc(*"MJPG")


class VideoCaptures:
    """Replaces `cv2.VideoCapture`: makes captures of one device."""

    def __init__(self, scene: Scene, device: Path) -> None:
        self.scene, self.device = scene, device
        self.made: list[VideoCapture] = []

    def __call__(self, filename: str, backend: int) -> VideoCapture:
        assert backend == cv2.CAP_V4L2
        capture = VideoCapture(self.scene, filename == str(self.device))
        self.made.append(capture)
        return capture


class VideoCapture:
    """One capture. Reading from an unplugged device returns nothing, as in OpenCV."""

    def __init__(self, scene: Scene, there: bool) -> None:
        self._scene = scene
        self._open = there and scene.plugged and not scene.busy and not scene.open
        self.asked: list[tuple[int, float]] = []
        self._size = [640, 480]
        scene.open += self._open
        scene.started += self._open

    def isOpened(self) -> bool:
        return self._open

    def set(self, key: int, value: float) -> bool:
        self.asked.append((key, value))
        if key in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT):
            self._size[key - cv2.CAP_PROP_FRAME_WIDTH] = int(value)
        return True

    def get(self, key: int) -> float:
        return dict(self.asked).get(key, 0.0)

    def read(self) -> tuple[bool, Image | None]:
        if not (self._open and self._scene.plugged and self._scene.delivers):
            return False, None
        picture = self._scene.next_picture(*self._size)
        asked = dict(self.asked)
        if asked.get(cv2.CAP_PROP_FOURCC) == MJPG and asked.get(cv2.CAP_PROP_CONVERT_RGB) == 0:
            return True, np.frombuffer(
                self._scene.on_the_wire(encoded(picture, ".jpg", cv2.IMWRITE_JPEG_QUALITY, 95)), np.uint8
            )[None]
        return True, picture

    def release(self) -> None:
        self._scene.open -= self._open
        self._open = False


def wants(capture: VideoCapture) -> dict[str, Any]:
    """The requested properties, by name."""
    return {
        name: value
        for key, value in capture.asked
        for name in ("FOURCC", "FRAME_WIDTH", "FRAME_HEIGHT", "FPS")
        if key == getattr(cv2, f"CAP_PROP_{name}")
    }


class Sockets:
    """A machine with several USB sockets: the camera at each path, and the opened captures."""

    def __init__(self) -> None:
        self.at: dict[Path, Device] = {}
        self.opened: list[Path] = []

    def plug(self, path: str, card: str, bus: str) -> None:
        self.at[Path(path)] = Device(Path(path), card, bus)

    def query(self, path: Path) -> Device:
        if path not in self.at:
            raise CameraLost(f"{path} does not exist")
        return self.at[path]

    def capture(self, filename: str, backend: int) -> SocketCapture:
        assert backend == cv2.CAP_V4L2
        return SocketCapture(self, Path(filename))


class SocketCapture:
    """A capture of the camera that was at the path when it was opened."""

    def __init__(self, sockets: Sockets, path: Path) -> None:
        self._sockets, self._path = sockets, path
        self._device = sockets.at.get(path)
        sockets.opened.append(path)

    def isOpened(self) -> bool:
        return self._device is not None

    def set(self, key: int, value: float) -> bool:
        return True

    def get(self, key: int) -> float:
        return 0.0

    def read(self) -> tuple[bool, Image | None]:
        there = self._device is not None and self._sockets.at.get(self._path) is self._device
        return there, noise(64, 48, len(self._sockets.opened)) if there else None

    def release(self) -> None:
        """Release nothing."""
