"""`/ws/analyze` from outside: pictures in, readings out, and every limit."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from appliance.system.resources import demo_clip
from appliance.values import Image
from tests.e2e.daemon.driver import Daemon


def clip_frames(count: int, every: int = 1) -> list[Image]:
    """The first frames of the demo clip."""
    film, frames = cv2.VideoCapture(str(demo_clip())), []
    while len(frames) < count * every:
        frames.append(np.asarray(film.read()[1], np.uint8))
    film.release()
    return frames[::every]


def jpeg(image: Image, quality: int = 90) -> bytes:
    return bytes(simplejpeg.encode_jpeg(image, quality, "BGR"))


@pytest.fixture(scope="module")
def pictures() -> list[bytes]:
    return [jpeg(image) for image in clip_frames(12)]


class Webcam:
    """A client of `/ws/analyze`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def read(self, picture: bytes | str) -> Any:
        """Send one picture and wait for its answer."""
        self.socket.send(picture)
        return self.next()

    def next(self) -> Any:
        return json.loads(self.socket.recv(15))

    def end(self) -> tuple[int, str]:
        """Code and reason with which the device closes."""
        try:
            while True:
                self.socket.recv(15)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "closed without a word"
            return closed.rcvd.code, closed.rcvd.reason


@contextmanager
def webcam(daemon: Daemon, query: str = "?consent=yes", token: str = "", **more: Any) -> Iterator[Webcam]:
    address = f"ws://127.0.0.1:{daemon.port}/ws/analyze{query}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(address, proxy=None, additional_headers=headers, open_timeout=15, **more) as socket:
        yield Webcam(socket)


def test_each_picture_gets_its_reading(demo: Daemon, pictures: list[bytes]) -> None:
    with webcam(demo) as client:
        found = [client.read(picture) for picture in pictures]
        text = client.read(f"data:image/jpeg;base64,{base64.b64encode(pictures[-1]).decode()}")
    assert [reading["frame"] for reading in found] == list(range(12))
    assert found[0]["time_s"] == 0 < found[1]["time_s"] < found[-1]["time_s"]
    assert all(reading["source"] == "webcam" and reading["faces"] for reading in found)
    assert found[-1]["faces"][0]["analysed"]
    assert [face["id"] for face in text["faces"]] == [face["id"] for face in found[-1]["faces"]]
