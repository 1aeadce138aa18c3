"""`/ws/pictures` from outside: what a message has, what acknowledgements do, how it ends."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from appliance.values import Image
from tests.e2e.daemon.driver import Daemon, command, running, until

LIVING = ("--set", "camera.needs_agreement=true")
NONE_COMES_S = 0.6
"""Long enough for a dozen pictures, if they were sent."""


@dataclass(frozen=True)
class Message:
    """One picture of `/ws/pictures`."""

    head: dict[str, Any]
    jpeg: bytes

    @property
    def frame(self) -> int:
        return int(self.head["frame"])

    @property
    def image(self) -> Image:
        image = cv2.imdecode(np.frombuffer(self.jpeg, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None, "not a JPEG"
        return image


class Viewer:
    """A client of `/ws/pictures`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.answers: list[dict[str, Any]] = []

    def say(self, **message: object) -> None:
        self.socket.send(json.dumps(message))

    def next(self, limit_s: float = 15.0) -> Message:
        """The next picture; answers are kept."""
        while True:
            data = self.socket.recv(limit_s)
            if isinstance(data, str):
                self.answers.append(json.loads(data))
                continue
            (length,) = struct.unpack(">I", data[:4])
            return Message(json.loads(data[4 : 4 + length]), data[4 + length :])

    def watch(self, count: int) -> list[Message]:
        """This many pictures, each acknowledged at once."""
        found = []
        for _ in range(count):
            found.append(self.next())
            self.say(shown=found[-1].frame, round_trip_ms=1)
        return found

    def end(self, limit_s: float = 15.0) -> tuple[int, str]:
        """Code and reason with which the device closes."""
        try:
            while True:
                self.next(limit_s)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None, "closed without a word"
            return closed.rcvd.code, closed.rcvd.reason


@contextmanager
def viewer(daemon: Daemon, query: str = "", token: str = "") -> Iterator[Viewer]:
    address = f"ws://127.0.0.1:{daemon.port}/ws/pictures{query}"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with connect(address, proxy=None, additional_headers=headers, open_timeout=15, max_size=None) as socket:
        yield Viewer(socket)


def test_a_message_has_the_picture_and_the_reading_of_its_frame(demo: Daemon) -> None:
    described = demo.request("/api/openapi.json").json()
    schema = described["paths"]["/ws/pictures"]["get"]["x-message"] | {"components": described["components"]}
    with viewer(demo) as client:
        messages = client.watch(60)
    for message in messages:
        jsonschema.Draft202012Validator(schema).validate(message.head)
        assert message.head["live"]
        reading = message.head["reading"]
        assert reading is None or message.frame - 4 <= reading["frame"] <= message.frame
    frames = [message.frame for message in messages]
    assert frames == sorted(set(frames))
    assert any(message.head["reading"] for message in messages)
    assert messages[-1].image.shape[2] == 3


def test_the_first_picture_is_small_and_later_ones_are_of_full_width(demo: Daemon) -> None:
    with viewer(demo) as client:
        assert client.watch(1)[0].image.shape[:2] == (180, 320)
        until(lambda: client.watch(1)[0].image.shape[:2] == (720, 1280), 15, "a picture of full width")


def test_the_width_asked_for_is_the_most(demo: Daemon) -> None:
    with viewer(demo, "?width=500") as client:
        client.watch(20)
        assert {message.image.shape[1] for message in client.watch(20)} == {640}


def test_no_more_pictures_a_second_than_asked_for(demo: Daemon) -> None:
    with viewer(demo, "?fps=5") as client:
        client.watch(2)
        stamps = [message.head["captured_s"] for message in client.watch(8)]
    assert (stamps[-1] - stamps[0]) / 7 > 0.17


def test_pictures_are_encoded_for_a_slow_viewer_only_when_it_takes_one(demo: Daemon) -> None:
    with viewer(demo, "?width=320") as watching:
        watching.watch(2)
        before = demo.metrics()
        for _ in range(6):
            picture = watching.next()
            time.sleep(0.4)  # to show it
            watching.say(shown=picture.frame, round_trip_ms=1)
        after = demo.metrics()
    encoded, frames = (
        after[f"interview_grader_{name}_total"] - before[f"interview_grader_{name}_total"]
        for name in ("encoded", "frames")
    )
    assert encoded < 0.5 * frames


def test_without_acknowledgement_only_one_picture_comes(demo: Daemon) -> None:
    with viewer(demo) as client:
        first = client.next()
        with pytest.raises(TimeoutError):
            client.next(NONE_COMES_S)
        client.say(shown=first.frame)
        assert client.next().frame > first.frame + 5, "the newest, not the next"


def test_a_viewer_who_acknowledges_nothing_loses_its_place(demo: Daemon) -> None:
    with viewer(demo) as client:
        client.next()
        code, reason = client.end(limit_s=40)
    assert (code, reason) == (1008, "no picture was acknowledged for 20 s")
    until(lambda: demo.metrics()["interview_grader_viewers"] == 0, 10, "that the viewer has left")


def test_a_question_for_the_clock_is_answered_with_it(demo: Daemon) -> None:
    with viewer(demo) as client:
        before = time.monotonic()
        client.say(clock_ms=12.5)
        first = client.watch(1)[0]
        until(lambda: client.watch(1) and client.answers, 15, "an answer")
    (answer,) = client.answers
    assert answer["clock_ms"] == 12.5
    # Both processes have the clock of this machine.
    assert before < answer["now_s"] < time.monotonic()
    assert abs(answer["now_s"] - first.head["captured_s"]) < 10


@pytest.mark.parametrize(
    "said", ["", "[]", '{"shown": "all"}', '{"round_trip_ms": -1}', '{"clock_ms": NaN}', "[" * 2000]
)
def test_a_message_that_is_not_understood_ends_it(demo: Daemon, said: str) -> None:
    with viewer(demo) as client:
        client.socket.send(said)
        code, reason = client.end()
    assert code == 1008
    assert "/api/openapi.json" in reason
    assert demo.state()["state"] == "live"


@pytest.mark.parametrize("query", ["?width=0", "?width=wide", "?fps=0", "?fps=nan", "?fps=-1"])
@pytest.mark.parametrize("path", ["/ws/pictures", "/stream.mjpg"])
def test_a_query_that_makes_no_sense_is_400(demo: Daemon, path: str, query: str) -> None:
    answer = demo.request(f"{path}{query}")
    assert answer.status == 400
    assert query[1:].partition("=")[0] in answer.json()["error"]


def test_the_stream_takes_width_and_rate(demo: Daemon) -> None:
    with demo.stream("/stream.mjpg?width=600&fps=5") as stream:
        parts = stream.take(8)
    assert {part.image.shape[:2] for part in parts} == {(360, 640)}
    assert (parts[-1].captured - parts[1].captured) / 6 > 0.17
    snapshot = demo.request("/snapshot.jpg?width=100&overlay=0")
    assert cv2.imdecode(np.frombuffer(snapshot.body, np.uint8), cv2.IMREAD_COLOR).shape[:2] == (180, 320)


def test_it_counts_as_a_viewer_and_its_picture_is_never_drawn_on(demo: Daemon) -> None:
    with viewer(demo) as client:
        client.watch(1)
        assert demo.metrics()["interview_grader_viewers"] == 1
        seen = until(lambda: full(client.watch(1)[0]), 15, "a picture of full width")
        with demo.stream("/stream.mjpg?overlay=0") as stream:
            bare = {part.number: part.jpeg for part in stream.take(30)}
            seen = until(lambda: (m := client.watch(1)[0]).frame in bare and full(m), 15, "the same frame")
        assert bare[seen.frame] == seen.jpeg, "one encoding for all"
    until(lambda: demo.metrics()["interview_grader_viewers"] == 0, 10, "that the viewer has left")


def full(message: Message) -> Message | None:
    return message if message.image.shape[1] == 1280 else None


def test_too_many_viewers_are_told_to_come_back(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo", "--set", "web.max_viewers=1") as daemon:
        # A client without a token is operator here, and not limited.
        made = command("token", "create", "wall", "--role", "viewer", "--data-dir", daemon.folder / "state")
        secret = next(word for word in made.stdout.split() if word.startswith("ig_"))
        with viewer(daemon, token=secret) as first:
            first.watch(1)
            with viewer(daemon, token=secret) as second:
                code, reason = second.end()
            assert code == 1013
            assert "limit" in reason or "allowed" in reason
            first.watch(2)
            with viewer(daemon) as operator:
                operator.watch(2)


def test_it_follows_consent(tmp_path: Path) -> None:
    with running(tmp_path, "--camera", "demo", *LIVING) as daemon:
        with pytest.raises(InvalidStatus) as refused, viewer(daemon):
            pass
        assert refused.value.response.status_code == 409
        assert daemon.start_session().status == 200
        with viewer(daemon) as client:
            client.watch(3)
            assert daemon.stop_session().status == 200
            with pytest.raises(ConnectionClosed):
                client.watch(1000)
        until(lambda: daemon.metrics()["interview_grader_viewers"] == 0, 10, "that the viewer is gone")
        line = until(
            lambda: [
                entry
                for entry in map(
                    json.loads, (daemon.folder / "state" / "audit.jsonl").read_text().splitlines()
                )
                if entry.get("event") == "viewer" and entry.get("what") == "picture"
            ],
            10,
            "the audit of the viewer",
        )
        assert len(line) == 1


def test_without_an_upgrade_it_says_what_it_wants(demo: Daemon) -> None:
    assert demo.request("/ws/pictures").status == 426
