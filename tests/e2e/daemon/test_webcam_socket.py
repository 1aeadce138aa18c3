"""`/ws/analyze` from outside: pictures in, readings out, and every limit."""

from __future__ import annotations

import base64
import json
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from appliance.system.resources import demo_clip
from appliance.values import Box, Image
from appliance.webcams.pictures import MOST_BYTES, MOST_MESSAGE_BYTES
from tests.e2e.daemon.driver import Daemon, command, running, until


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
    scheme = "wss" if "ssl" in more else "ws"
    address = f"{scheme}://127.0.0.1:{daemon.port}/ws/analyze{query}"
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


def test_the_readings_agree_with_those_of_analyze(
    demo: Daemon, pictures: list[bytes], tmp_path: Path
) -> None:
    """JPEG moves the scores of a picture by up to 0.2, and the smoothed ones by up to 0.12 (measured)."""
    done = command("analyze", demo_clip(), "--jsonl", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    expected = [json.loads(line) for line in done.stdout.splitlines()][: len(pictures)]
    with webcam(demo) as client:
        found = [client.read(picture) for picture in pictures]
    assert len(expected) == len(found)
    for ours, theirs in zip(found, expected, strict=True):
        assert [face["id"] for face in ours["faces"]] == [face["id"] for face in theirs["faces"]]
        for one, other in zip(ours["faces"], theirs["faces"], strict=True):
            assert Box(*one["box"]).iou(Box(*other["box"])) > 0.9, "the search depends on the time"
            assert one["dominant"] == other["dominant"]
            for name, value in (one["emotions"] or {}).items():
                assert value == pytest.approx(other["emotions"][name], abs=0.15)


@pytest.mark.parametrize(("query", "status"), [("", 422), ("?consent=no", 422), ("?consent=YES", 422)])
def test_without_consent_nothing_is_opened(demo: Daemon, query: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as refused, webcam(demo, query):
        pass
    assert refused.value.response.status_code == status
    assert "consent=yes is missing" in json.loads(refused.value.response.body or b"")["error"]
    assert demo.request(f"/ws/analyze{query}").status == status, "a page can ask for the reason"
    assert demo.request("/ws/analyze?consent=yes").status == 426


@pytest.mark.parametrize("lawful", [None, ("EU", "hiring")], ids=["not set", "forbidden"])
def test_where_analysis_is_off_this_is_off(tmp_path: Path, lawful: tuple[str, str] | None) -> None:
    with running(tmp_path, "--camera", "demo", lawful=lawful) as daemon:
        with pytest.raises(InvalidStatus) as refused, webcam(daemon):
            pass
        assert refused.value.response.status_code == 409


def test_the_limit_of_clients(demo: Daemon, pictures: list[bytes]) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(webcam(demo)) for _ in range(2)]
        with pytest.raises(InvalidStatus) as refused, webcam(demo):
            pass
        answer = refused.value.response
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert demo.request("/ws/analyze?consent=yes").status == 503
        assert all(client.read(pictures[0])["faces"] for client in clients)
    is_clear(demo)


def is_clear(daemon: Daemon) -> None:
    """Wait until nothing is left of any client, and the room is still read."""
    until(lambda: daemon.metrics()["interview_grader_webcams"] == 0, 15, "every client has left")
    before = daemon.metrics()["interview_grader_readings_total"]
    until(lambda: daemon.metrics()["interview_grader_readings_total"] > before + 5, 15, "the room is read")
    assert not daemon.log_lines("cannot be served") and not daemon.log_lines("Traceback")


def with_size(picture: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header claims another size."""
    at = picture.index(b"\xff\xc0") + 5
    return picture[:at] + struct.pack(">HH", height, width) + picture[at + 4 :]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"\xff" * (MOST_BYTES + 1), 1009),
        (b"\xff" * (MOST_MESSAGE_BYTES + 1), 1009),
        ("data:image/jpeg;base64," + "A" * (4 * ((MOST_BYTES + 2) // 3)), 1009),
        ((65500, 65500), 1009),
        ((1921, 1080), 1009),
    ],
    ids=["bytes", "message", "url", "huge header", "a column more"],
)
def test_too_large_closes_with_1009(
    demo: Daemon, pictures: list[bytes], message: bytes | str | tuple[int, int], code: int
) -> None:
    sent = with_size(pictures[0], *message) if isinstance(message, tuple) else message
    with webcam(demo) as client:
        with suppress(ConnectionClosed):
            client.socket.send(sent)
        assert client.end()[0] == code
    is_clear(demo)


def test_the_largest_pictures_are_read(demo: Daemon) -> None:
    rng = np.random.default_rng(0)
    with webcam(demo) as client:
        for height, width in ((1080, 1920), (1920, 1080), (1, 1), (1, 5000), (16, 16)):
            found = client.read(jpeg(rng.integers(0, 255, (height, width, 3), np.uint8), 20))
            assert (found["width"], found["height"]) == (width, height)
    is_clear(demo)


def test_the_third_message_in_a_row_that_is_no_picture_closes_with_1007(
    demo: Daemon, pictures: list[bytes]
) -> None:
    nonsense: list[bytes | str] = [b"", "hello", "data:image/jpeg;base64,%%%", pictures[0][:2000]]
    with webcam(demo) as client:
        for number, message in enumerate((*nonsense[:2], pictures[0], *nonsense[2:])):
            found = client.read(message)
            assert found["frame"] == number and ("error" in found) == (number != 2), found
        assert client.read(b"no JPEG")["frame"] == 5
        assert client.end()[0] == 1007
    is_clear(demo)


def test_a_flood_ends_with_1008_and_every_picture_was_answered(demo: Daemon, pictures: list[bytes]) -> None:
    with webcam(demo, max_queue=None) as client, suppress(ConnectionClosed):
        for _ in range(3000):
            client.socket.send(pictures[0])
    assert client.end()[0] == 1008
    is_clear(demo)


def test_only_the_newest_picture_waits(demo: Daemon, pictures: list[bytes]) -> None:
    with webcam(demo) as client:
        for picture in pictures[:8]:
            client.socket.send(picture)
        found = [client.next() for _ in range(8)]
        assert sorted(answer["frame"] for answer in found) == list(range(8)), "one answer for each"
        assert max(answer["frame"] for answer in found if "faces" in answer) == 7, "the newest is read"
    is_clear(demo)


def test_pings_and_fragments(demo: Daemon, pictures: list[bytes]) -> None:
    with webcam(demo, compression="deflate") as client:
        assert not client.socket.protocol.extensions, "no compression"
        client.socket.send([pictures[0][at : at + 5000] for at in range(0, len(pictures[0]), 5000)])
        assert client.socket.ping().wait(10)
        assert client.next()["faces"]


def test_random_messages_leave_nothing_behind(demo: Daemon, pictures: list[bytes]) -> None:
    """Random bytes, damaged and truncated pictures, ends in the middle of a frame and of a handshake."""
    rng = random.Random(1)
    url = "data:image/jpeg;base64," + base64.b64encode(pictures[0]).decode()
    for _ in range(60):
        with suppress(ConnectionClosed, InvalidStatus, OSError), webcam(demo) as client:
            for _ in range(rng.randrange(4)):
                picture = bytearray(pictures[rng.randrange(len(pictures))])
                for _ in range(rng.randrange(20)):
                    picture[rng.randrange(len(picture))] = rng.randrange(256)
                kinds: list[bytes | str] = [
                    bytes(picture),
                    bytes(picture[: rng.randrange(len(picture))]),
                    rng.randbytes(rng.randrange(3000)),
                    url[: rng.randrange(len(url))],
                ]
                client.socket.send(rng.choice(kinds))
                if rng.random() < 0.5:
                    client.socket.recv(15)
            if rng.random() < 0.5:  # half a frame, then gone
                client.socket.socket.sendall(b"\x82\xfe\xff\xff" + rng.randbytes(rng.randrange(500)))
                client.socket.socket.shutdown(socket.SHUT_RDWR)
    until(lambda: demo.metrics()["interview_grader_webcams"] == 0, 15, "every client has left")
    is_clear(demo)


def test_a_client_that_reads_nothing_is_dropped(demo: Daemon, pictures: list[bytes]) -> None:
    with webcam(demo, max_queue=1) as client:
        with suppress(ConnectionClosed, TimeoutError, OSError):
            client.socket.socket.settimeout(5)
            for _ in range(20_000):
                client.socket.send(pictures[0][:100])
        until(lambda: demo.metrics()["interview_grader_webcams"] == 0, 30, "it has lost its place")
    is_clear(demo)


def test_the_token_of_role_analyze(tmp_path: Path, pictures: list[bytes]) -> None:
    state = tmp_path / "state"
    state.mkdir()
    secrets = {}
    for role in ("viewer", "analyze"):
        made = command("token", "create", role, "--role", role, "--data-dir", state)
        secrets[role] = made.stdout.split()[-1]
    with running(tmp_path, "--camera", "demo", "--set", "access.loopback=login") as daemon:
        trust = ssl.create_default_context(cafile=state / "tls-certificate.pem")
        with pytest.raises(InvalidStatus) as refused, webcam(daemon, token=secrets["viewer"], ssl=trust):
            pass
        assert refused.value.response.status_code == 403
        with webcam(daemon, token=secrets["analyze"], ssl=trust) as client:
            assert client.read(pictures[0])["faces"]
            command("token", "revoke", "analyze", "--data-dir", state)
            assert client.end()[0] == 1001
