"""A stand-in for the picamera2 package, with its real calls: a camera pointed at a test's scene."""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import numpy as np

from appliance.values import Image
from tests.fakes.scene import Scene

scene = Scene()
"""The scene in front of the camera; a test sets its own."""

listed: list[dict[str, Any]] = []
"""Cameras that libcamera lists before the one of the scene."""


class CompletedRequest:
    """A filled buffer; it must be released, since there are few."""

    def __init__(self, camera: Picamera2, image: Image) -> None:
        self._camera, self._image = camera, image

    def make_array(self, name: str) -> Image:
        assert name == "main"
        assert self in self._camera.lent, "read before it is released"
        # RGB888 is blue, green, red in memory; BGR888 is the reverse.
        kept = self._camera.configuration["main"]["format"] == "RGB888"
        return np.ascontiguousarray(self._image if kept else self._image[:, :, ::-1])

    def release(self) -> None:
        self._camera.lent.remove(self)


class Picamera2:
    """One camera; only one may be open at a time."""

    def __init__(self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None) -> None:
        if camera_num >= len(self.global_camera_info()):
            raise IndexError("list index out of range")
        if scene.busy or scene.open:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.camera_num = camera_num
        self.configuration: dict[str, Any] = {}
        self.lent: list[CompletedRequest] = []
        self._running = False
        self._open = True
        scene.open += 1

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        here = {"Model": "imx708", "Location": 2, "Rotation": 180, "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a"}
        return [{**each, "Num": n} for n, each in enumerate([*listed, *([here] if scene.plugged else [])])]

    def create_video_configuration(
        self,
        main: dict[str, Any] | None = None,
        *,
        controls: dict[str, Any] | None = None,
        buffer_count: int = 6,
        transform: Any = None,
    ) -> dict[str, Any]:
        assert main is not None
        return {
            "use_case": "video",
            "main": dict(main),
            "controls": dict(controls or {}),
            "buffer_count": buffer_count,
            "transform": transform,
        }

    _waiting = False

    def configure(self, camera_config: dict[str, Any]) -> None:
        assert not self._running
        self.configuration = camera_config

    def camera_configuration(self) -> dict[str, Any]:
        return self.configuration

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        assert self.configuration, "configure comes first"
        self._running = True
        scene.started += 1

    def capture_request(
        self, wait: Any = None, signal_function: Any = None, flush: Any = None
    ) -> CompletedRequest:
        if not self._running:
            raise RuntimeError("Camera is not started")
        assert isinstance(wait, float), "without a number of seconds it would wait indefinitely"
        if not (scene.plugged and scene.delivers) or len(self.lent) >= self.configuration["buffer_count"]:
            threading.Event().wait(wait)
            self._waiting = True  # the job stays in the queue
            raise concurrent.futures.TimeoutError
        request = CompletedRequest(self, scene.next_picture(*self.configuration["main"]["size"]))
        self.lent.append(request)
        return request

    def stop(self) -> None:
        assert not self._waiting, "after a capture that timed out the real one waits indefinitely"
        self._running = False
        if not scene.plugged:
            raise RuntimeError("Failed to stop camera")

    def close(self) -> None:
        if self._open:
            self._open = False
            scene.open -= 1
