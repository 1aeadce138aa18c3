"""A source for the Jetson's pipeline without a Jetson: real GStreamer, a ball on blue, sent through a socket.

Stopping the sender is pulling the camera.
"""

from __future__ import annotations

import importlib
import socket
import sys
import warnings
from typing import Any

import numpy as np
import pytest

from appliance.values import Image

WIDTH, HEIGHT = 322, 240
"""Rows of 322 pixels do not end at a multiple of four bytes."""

DISTRIBUTION = "/usr/lib/python3/dist-packages"
BLUE, RED = 0xFF0000FF, 0xFFFF0000
FORMAT = f"width={WIDTH},height={HEIGHT},framerate=30/1"


def gst(patch: pytest.MonkeyPatch) -> Any:
    """GStreamer of the distribution, which an environment of its own does not see; or a skip."""
    patch.setattr(sys, "path", [*sys.path, DISTRIBUTION])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # PyGObject's own way to import
            gi = importlib.import_module("gi")
            gi.require_version("Gst", "1.0")
            gi.require_version("GstApp", "1.0")
            found = importlib.import_module("gi.repository.Gst")
            importlib.import_module("gi.repository.GstApp")
    except (ImportError, ValueError):
        pytest.skip("no GStreamer for this Python")
    found.init(None)
    return found


class Source:
    """Sends pictures to whoever connects."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._gst = gst(patch)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._sender: Any = None
        self.start()

    @property
    def words(self) -> str:
        """What the camera is told to read."""
        return (
            f"tcpclientsrc host=127.0.0.1 port={self._port}"
            f" ! rawvideoparse format=bgrx width={WIDTH} height={HEIGHT} framerate=30/1"
        )

    def start(self) -> None:
        """Send."""
        self._sender = self._gst.parse_launch(
            f"videotestsrc is-live=true pattern=ball background-color={BLUE} foreground-color={RED}"
            f" ! video/x-raw,format=BGRx,{FORMAT} ! tcpserversink host=127.0.0.1 port={self._port}"
        )
        self._sender.set_state(self._gst.State.PLAYING)
        self._sender.get_state(5 * self._gst.SECOND)

    def stop(self) -> None:
        """Send no more, and listen no more."""
        self._sender.set_state(self._gst.State.NULL)

    @staticmethod
    def first() -> Image:
        """The picture but for the ball."""
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        picture[:, :, 0] = 255
        return picture
