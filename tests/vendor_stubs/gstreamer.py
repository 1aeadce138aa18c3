"""A source for the Jetson's pipeline on a PC: real GStreamer, a ball on blue, sent through a socket.

The sender is a separate process. GStreamer does not work in a process before `Gst.init`, and in this process
only the camera may call it: otherwise a camera that forgets to call it would pass here and fail on a board.
Stopping the sender means unplugging the camera.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from appliance.cameras.jetson import import_gstreamer
from appliance.errors import BackendMissing
from appliance.values import Image

WIDTH, HEIGHT = 322, 240
"""Rows of 322 pixels are not a multiple of four bytes."""

DISTRIBUTION = "/usr/lib/python3/dist-packages"
BLUE, RED = 0xFF0000FF, 0xFFFF0000
FORMAT = f"width={WIDTH},height={HEIGHT},framerate=30/1"

_SENDER = """
import sys
sys.path.append(sys.argv[1])
import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst
Gst.init(None)
pipeline = Gst.parse_launch(sys.argv[2])
pipeline.set_state(Gst.State.PLAYING)
outcome = pipeline.get_state(10 * Gst.SECOND)[0]
print(outcome.value_nick, flush=True)
sys.stdin.read()
"""
"""Sends until its standard input closes, at the latest with the test's process."""


def find(patch: pytest.MonkeyPatch) -> None:
    """Make the distribution's GStreamer importable, which a virtual environment does not see; or skip.

    It is not initialised here; see above.
    """
    patch.setattr(sys, "path", [*sys.path, DISTRIBUTION])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # PyGObject's own way to import
            import_gstreamer()
    except BackendMissing:
        pytest.skip("no GStreamer for this Python")


@contextmanager
def sending(patch: pytest.MonkeyPatch) -> Iterator[Source]:
    """A source that sends, and is removed afterwards."""
    find(patch)
    source = Source()
    try:
        source.start()
        yield source
    finally:
        source.stop()


class Source:
    """Sends pictures to every client."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._sender: subprocess.Popen[str] | None = None

    @property
    def words(self) -> str:
        """The address that the camera reads."""
        return (
            f"tcpclientsrc host=127.0.0.1 port={self._port}"
            f" ! rawvideoparse format=bgrx width={WIDTH} height={HEIGHT} framerate=30/1"
        )

    def start(self) -> None:
        """Start sending."""
        words = (
            f"videotestsrc is-live=true pattern=ball background-color={BLUE} foreground-color={RED}"
            f" ! video/x-raw,format=BGRx,{FORMAT} ! tcpserversink host=127.0.0.1 port={self._port}"
        )
        command = [sys.executable, "-I", "-c", _SENDER, DISTRIBUTION, words]
        self._sender = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._sender.stdout
        outcome = self._sender.stdout.readline().strip()
        assert outcome not in ("", "failure"), outcome

    def stop(self) -> None:
        """Stop sending and listening; harmless if it does not send."""
        if self._sender is not None:
            self._sender.kill()
            self._sender.communicate()
            self._sender = None

    @staticmethod
    def first() -> Image:
        """The picture without the ball."""
        picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        picture[:, :, 0] = 255
        return picture
