"""`/ws/camera` from outside: consent before pictures, one browser at a time, bad clients."""

from __future__ import annotations

import json
import os
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.e2e.daemon.driver import Daemon, command, open_websocket, running, until
from tests.e2e.daemon.driver_schema import check_state
from tests.fakes.browser_camera import browser_camera
from tests.fakes.files import encoded
from tests.fakes.network_cameras import scene_jpeg

WITHIN_S = 15.0
BACK_WITHIN_S = 40.0
NONE_COMES_S = 0.5
BEGIN: dict[str, Any] = {"taken": 0}


def url(device: Daemon, query: str = "") -> str:
    return f"ws://127.0.0.1:{device.port}/ws/camera{query}"


class Phone:
    """A client of `/ws/camera` that does what a test says."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def say(self, **message: object) -> None:
        self.socket.send(json.dumps(message))

    def hear(self, limit_s: float = WITHIN_S) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.socket.recv(limit_s))
        return said

    def end(self) -> tuple[int, str]:
        """Code and reason with which the device closes."""
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                self.hear()
        assert closed.value.rcvd is not None, "closed without a word"
        return closed.value.rcvd.code, closed.value.rcvd.reason


@contextmanager
def phone(device: Daemon, query: str = "", token: str = "") -> Iterator[Phone]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(url(device, query), proxy=None, additional_headers=headers, open_timeout=WITHIN_S) as opened:
        yield Phone(opened)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path, "--camera", "browser") as device:
        yield device


def camera_is(device: Daemon, state: str, reason: str = "") -> None:
    def is_so() -> bool:
        found = device.state()["camera"]
        return bool(found["state"] == state and reason in (found["reason"] or ""))

    until(is_so, WITHIN_S, f"{state} {reason}")


def begin(device: Daemon, client: Phone) -> None:
    """Start the session of a connected phone, up to where it may send."""
    assert "The room has not agreed yet" in client.hear()["wait"]
    client.say(waiting=True)
    assert device.start_session().status == 200
    wait_for_begin(client)


def wait_for_begin(client: Phone) -> None:
    """Confirm each `wait` until the device takes pictures."""
    while (said := client.hear(BACK_WITHIN_S)) != BEGIN:
        assert "wait" in said or said["taken"]
        if "wait" in said:
            client.say(waiting=True)


def test_it_waits_for_consent_and_then_sends(device: Daemon) -> None:
    check_state(device.state(), backend="browser")
    camera_is(device, "lost", "no phone or laptop is connected")
    with browser_camera(url(device), window=2) as sender:
        camera_is(device, "closed")
        assert sender.sent == 0 and "has not agreed" in sender.waits[0]
        device.start_session()
        camera_is(device, "open")
        until(lambda: sender.sent > 20, WITHIN_S, "20 pictures")
        assert (device.state()["camera"]["width"], device.state()["camera"]["height"]) == (320, 240)
        device.stop_session()
        until(lambda: len(sender.waits) == 2, WITHIN_S, "told to wait")
        sent = sender.sent
        time.sleep(NONE_COMES_S)
        assert sender.sent == sent
    camera_is(device, "lost", "its page was closed")


def test_the_preview_opens_it_too(device: Daemon) -> None:
    with browser_camera(url(device)) as sender:
        assert device.post("/api/session/aim").status == 200
        until(lambda: device.request("/aim.jpg").status == 200, WITHIN_S, "a blurred picture")
        assert device.request("/snapshot.jpg").status == 409
        device.stop_session()
        until(lambda: len(sender.waits) == 2, WITHIN_S, "told to wait")


def test_what_was_under_way_when_consent_ended_is_not_taken_for_the_next(device: Daemon) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(scene_jpeg(0))
        assert client.hear() == {"taken": 1}
        device.stop_session()
        assert "wait" in client.hear()
        device.start_session()
        client.socket.send(scene_jpeg(1))  # as if it had been on its way
        with pytest.raises(TimeoutError):
            client.hear(NONE_COMES_S)  # the device opens nothing for it before it confirms
        assert device.state()["camera"]["frame"] is None
        client.say(waiting=True)
        wait_for_begin(client)
        client.socket.send(scene_jpeg(2))
        assert client.hear() == {"taken": 1}


@pytest.mark.parametrize(
    ("leaving", "words"),
    [
        ("hidden", "was closed or hidden"),
        ("stopped", "sending was stopped"),
        ("camera", "lost its own camera"),
    ],
)
def test_the_reason_is_the_one_that_the_browser_gave(device: Daemon, leaving: str, words: str) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(scene_jpeg(0))
        client.hear()
        client.say(leaving=leaving)
        assert client.end()[0] == 1000
        camera_is(device, "lost", words)
    device.stop_session()
    camera_is(device, "lost", words)


def test_it_is_lost_when_it_stalls_and_back_when_it_sends(device: Daemon) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(scene_jpeg(0))
        camera_is(device, "open")
        camera_is(device, "lost", "sends no pictures")
        wait_for_begin(client)
        client.socket.send(scene_jpeg(1))
        camera_is(device, "open")


def is_admitted(device: Daemon) -> bool:
    with phone(device) as client:
        try:
            return "wait" in client.hear()
        except ConnectionClosed:
            return False


def test_a_second_browser_is_refused_and_may_take_over_only_before_people_agree(
    tmp_path: Path, device: Daemon
) -> None:
    state = tmp_path / "state"
    token = command("token", "create", "laptop", "--role", "operator", "--data-dir", state).stdout.strip()
    with phone(device) as first:
        with phone(device, token=token) as second:
            assert second.end() == (1013, "another browser is the camera already")
        with phone(device, "?take_over=1", token) as second:
            assert first.end()[0] == 1008
            begin(device, second)
            for query in ("", "?take_over=1"):
                with phone(device, query) as third:
                    assert third.end() == (
                        1013,
                        "people agreed to the camera of another browser; press Stop first",
                    )
            second.socket.send(scene_jpeg(0))
            assert second.hear() == {"taken": 1}
    camera_is(device, "lost", "its page was closed")
    device.stop_session()
    until(lambda: is_admitted(device), WITHIN_S, "the place of the browser that people agreed to is free")


def test_the_same_browser_comes_back_at_once(device: Daemon) -> None:
    with phone(device) as first:
        begin(device, first)
        with phone(device) as again:  # the device does not know yet that the first connection is dead
            assert again.hear() == BEGIN
            assert first.end() == (1008, "another page of this or another browser is the camera now")
            again.socket.send(scene_jpeg(0))
            assert again.hear() == {"taken": 1}
            camera_is(device, "open")


def noise(width: int, height: int, quality: int = 95) -> bytes:
    """A JPEG that is as large as one can be."""
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return encoded(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)


def huge_header() -> bytes:
    """A small JPEG whose header states 65500 x 65500 pixels."""
    data = bytearray(scene_jpeg(0))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    return bytes(data)


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: b"", 1007),
        (lambda: b"not a picture", 1007),
        (lambda: os.urandom(5000), 1007),
        (lambda: encoded(np.zeros((8, 8, 3), np.uint8), ".png"), 1007),
        (lambda: scene_jpeg(0)[:100], 1007),
        (huge_header, 1009),
        (lambda: encoded(np.zeros((1088, 1920, 3), np.uint8), ".jpg"), 1009),
        (lambda: noise(1280, 720), 1009),
        (lambda: "no JSON", 1008),
        (lambda: '{"leaving": "later"}', 1008),
        (lambda: '{"waiting": false}', 1008),
    ],
    ids=(
        *("empty", "text", "noise", "png", "cut-off", "huge-header", "too-many-pixels", "too-many-bytes"),
        *("no-json", "unknown-reason", "not-waiting"),
    ),
)
def test_a_bad_message_ends_the_client_with_the_reason(
    device: Daemon, make: Callable[[], bytes | str], code: int
) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(make())
        found, reason = client.end()
        assert found == code and (reason or code == 1009)
    camera_is(device, "lost")
    assert device.state()["camera"]["frame"] is None
    assert "Traceback" not in device.log


def test_portrait_pictures_of_full_size_are_taken(device: Daemon) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(encoded(np.zeros((1920, 1080, 3), np.uint8), ".jpg"))
        assert client.hear() == {"taken": 1}
        camera_is(device, "open")
        assert (device.state()["camera"]["width"], device.state()["camera"]["height"]) == (1080, 1920)


def test_a_damaged_picture_is_left_out(device: Daemon) -> None:
    with phone(device) as client:
        begin(device, client)
        client.socket.send(scene_jpeg(0)[:-200])
        assert client.hear() == {"taken": 1}
        client.socket.send(scene_jpeg(1))
        assert client.hear() == {"taken": 2}
        camera_is(device, "open")
        assert device.state()["camera"]["frame"] == 0


def test_pictures_before_consent_end_the_client_unseen(device: Daemon) -> None:
    with phone(device) as client:
        client.hear()
        client.socket.send(scene_jpeg(0))
        assert client.end() == (1008, "a picture that was not asked for; wait for taken")
    assert device.metrics()["interview_grader_frames_total"] == 0


def test_a_flood_ends_the_client_and_leaves_nothing(device: Daemon) -> None:
    picture = scene_jpeg(0)
    before = device.resident_bytes()
    for _ in range(3):
        with phone(device) as client:
            assert "wait" in client.hear()
            client.say(waiting=True)
            device.start_session()
            wait_for_begin(client)
            with pytest.raises(ConnectionClosed) as closed:
                for _ in range(5000):
                    client.socket.send(picture)
                client.end()
            assert closed.value.rcvd is None or closed.value.rcvd.code == 1008
        device.stop_session()
        camera_is(device, "lost", "its page was closed")
    assert device.request("/healthz").status in (200, 503)
    assert device.resident_bytes() - before < 100e6


def test_a_phone_that_falls_silent_in_the_middle_of_a_picture_is_dropped(device: Daemon) -> None:
    client = open_websocket(device.port, path="/ws/camera")
    with client:
        camera_is(device, "closed")
        # The head of a binary message of 500 kB, then nothing, not even a pong.
        client.sendall(bytes([0x82, 0xFF]) + struct.pack(">Q", 500_000) + bytes(4) + b"x" * 1000)
        camera_is(device, "lost", "its page was closed, or its network failed")
