"""Viewers: their cost, their limit, and that a bad one does not affect the others."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import av
import pytest

from appliance.media.jpeg import fit_for_browsers
from tests.e2e.daemon.driver import (
    Daemon,
    Part,
    Stream,
    command,
    open_websocket,
    running,
    server_holds,
    until,
)
from tests.fakes.videos import moving, video

MAX_VIEWERS = 3
DROPPED_WITHIN_S = 10.0
PAUSE_S = 3.0
SEND_LIMIT_S = 4.0
"""How long the server waits for a viewer that reads nothing; other viewers must not wait that long."""
READINGS = "interview_grader_readings_total"


class Watcher:
    """A good viewer in its own thread: reads everything, and keeps the times."""

    def __init__(self, daemon: Daemon, path: str = "/stream.mjpg", **more: Any) -> None:
        self._stream = daemon.stream(path, **more)
        self.read_at: list[float] = []
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watcher:
        self._thread.start()
        until(lambda: self.read_at, 10, "a first picture")
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(20)
        self._stream.close()

    def _watch(self) -> None:
        for _ in self._stream:
            self.read_at.append(time.monotonic())
            if self._enough.is_set():
                return

    def longest_gap(self) -> float:
        return max(later - sooner for sooner, later in itertools.pairwise(self.read_at))


@contextmanager
def listening(daemon: Daemon, headers: dict[str, str]) -> Iterator[None]:
    """A good listener on `/ws/live`, in its own thread, because a client that reads nothing is dropped."""
    with ExitStack() as stack:
        client = stack.enter_context(daemon.live(additional_headers=headers))
        client.recv(15)

        def listen() -> None:
            for _ in client:
                pass

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield
        finally:
            client.close()
            thread.join(20)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that admits three viewers."""
    folder: Path = tmp_path_factory.mktemp("few")
    with running(folder, "--camera", "demo", "--set", f"web.max_viewers={MAX_VIEWERS}") as daemon:
        yield daemon


@pytest.mark.parametrize(("viewers", "variants"), [(1, 1), (5, 1), (6, 2)])
def test_each_frame_is_encoded_once_per_variant(demo: Daemon, viewers: int, variants: int) -> None:
    paths = ["/stream.mjpg", "/stream.mjpg?overlay=0"][:variants]
    with ExitStack() as stack:
        chosen = itertools.islice(itertools.cycle(paths), viewers)
        watchers = [stack.enter_context(Watcher(demo, path)) for path in chosen]
        until(lambda: demo.state()["viewers"] == viewers, 5, "all are counted")
        before = demo.metrics()
        until(lambda: all(len(each.read_at) > 40 for each in watchers), 30, "40 pictures for everyone")
        after = demo.metrics()
    encoded, frames = (
        after[f"interview_grader_{name}_total"] - before[f"interview_grader_{name}_total"]
        for name in ("encoded", "frames")
    )
    assert encoded <= variants * (frames + 1)
    assert encoded >= variants * 0.7 * frames


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with a fast one"])
def test_a_variant_is_encoded_no_more_often_than_its_viewers_take_it(demo: Daemon, others: int) -> None:
    with ExitStack() as stack:
        slow = stack.enter_context(Watcher(demo, "/stream.mjpg?fps=2&width=320&overlay=0"))
        fast = [stack.enter_context(Watcher(demo, "/stream.mjpg")) for _ in range(others)]
        until(lambda: all(len(each.read_at) > 3 for each in (slow, *fast)), 15, "all watch")
        before = demo.metrics()
        until(lambda: len(slow.read_at) > 12, 30, "some more pictures for the slow one")
        after = demo.metrics()
    encoded, frames = (
        after[f"interview_grader_{name}_total"] - before[f"interview_grader_{name}_total"]
        for name in ("encoded", "frames")
    )
    assert encoded - others * frames < 0.5 * frames


def test_a_film_of_jpegs_reaches_viewers_as_it_is(tmp_path: Path) -> None:
    path = video(tmp_path / "film.avi", moving(30, 640, 384), codec="mjpeg", pixels="yuvj420p")
    with av.open(str(path)) as film:
        stored = {fit_for_browsers(bytes(packet)) for packet in film.demux(video=0) if packet.size}
    with running(tmp_path, "--camera", f"replay:{path}") as daemon:
        with daemon.stream("/stream.mjpg?overlay=0") as stream:
            seen = [part.jpeg for part in stream.take(20) if part.live]
        before = daemon.metrics()["interview_grader_encoded_total"]
        boxes = daemon.request("/snapshot.jpg").body
    assert len(seen) > 15 and set(seen) <= stored
    assert before <= 3, "one to compare sizes, and what was shown before the first frame"
    assert boxes not in stored


def test_nothing_is_encoded_without_viewers(demo: Daemon) -> None:
    until(lambda: demo.state()["viewers"] == 0, 10, "no viewers")
    with demo.live() as client:
        client.recv(5)  # nor for readings
        before = demo.metrics()
        for _ in range(20):
            client.recv(5)
        after = demo.metrics()
    assert after["interview_grader_readings_total"] >= before["interview_grader_readings_total"] + 10
    # One may have been in progress for a viewer who has just left.
    assert after["interview_grader_encoded_total"] <= before["interview_grader_encoded_total"] + 1


@pytest.fixture(scope="module")
def tokens(few: Daemon) -> list[dict[str, str]]:
    """The headers of two viewers: on loopback, who has no token is operator and not limited."""
    found = []
    for name in ("wall", "kiosk"):
        made = command("token", "create", name, "--role", "viewer", "--data-dir", few.folder / "state")
        assert made.returncode == 0, made.stderr
        secret = next(word for word in made.stdout.split() if word.startswith("ig_"))
        found.append({"Authorization": f"Bearer {secret}"})
    return found


def test_a_viewer_over_the_limit_gets_retry_after(few: Daemon, tokens: list[dict[str, str]]) -> None:
    wall, kiosk = tokens
    with ExitStack() as stack:
        leaving = stack.enter_context(ExitStack())
        leaving.enter_context(Watcher(few, headers=wall))
        stack.enter_context(Watcher(few, headers=wall))
        refused = few.request("/stream.mjpg", headers=wall)
        assert refused.status == 503 and "all but one" in refused.json()["error"]
        stack.enter_context(Watcher(few, headers=kiosk))
        for path in ("/stream.mjpg", "/snapshot.jpg"):
            refused = few.request(path, headers=kiosk)
            assert refused.status == 503
            assert int(refused.headers["Retry-After"]) > 0
            assert str(MAX_VIEWERS) in refused.json()["error"]
        assert few.request("/snapshot.jpg").status == 200, "the operator's picture"
        with few.stream() as stream:
            stream.take(2)
        assert few.request("/", headers=kiosk).status == few.request("/api/state").status == 200
        leaving.close()
        until(lambda: few.request("/snapshot.jpg", headers=kiosk).status == 200, 5, "a place is free again")
        with few.stream(headers=kiosk) as stream:
            stream.take(2)
    until(lambda: few.state()["viewers"] == 0, 5, "all places are free again")


def test_a_websocket_over_the_limit_gets_retry_after(few: Daemon, tokens: list[dict[str, str]]) -> None:
    wall, kiosk = tokens
    with ExitStack() as stack:
        for each in (wall, wall, kiosk):
            stack.enter_context(listening(few, each))
        assert b"503" in first_line(few, wall) and b"503" in first_line(few, kiosk)
        assert b"101" in first_line(few, {}), "the operator's readings"
    until(lambda: b"101" in first_line(few, kiosk), 5, "a place is free again")


def test_viewer_who_stops_reading_is_dropped_and_costs_the_others_nothing(few: Daemon) -> None:
    with Watcher(few) as watcher:
        until(lambda: len(watcher.read_at) > 60, 20, "a settled state")
        memory = few.resident_bytes()
        before, readings = len(watcher.read_at), few.metrics()[READINGS]
        with few.stream() as with_usual_buffer, few.stream(receive_bytes=32768) as with_small:
            # Pictures arrived, so both were admitted. On a busy machine they may already have been dropped.
            with_usual_buffer.take(2)
            with_small.take(2)
            until(lambda: few.state()["viewers"] == 1, DROPPED_WITHIN_S, "both stalled viewers were dropped")
            grown = few.resident_bytes() - memory
            seen, read = len(watcher.read_at) - before, few.metrics()[READINGS] - readings
            with_usual_buffer.ends()
            with_small.ends()
    # Ten seconds of pictures for both would be 20 MB; what the allocator keeps varies by some.
    assert grown < 1e7, f"{grown / 1e6:.1f} MB"
    assert seen > 0.6 * read, (seen, read)
    assert watcher.longest_gap() < SEND_LIMIT_S, "it waited for the stalled viewers"
    assert few.process.poll() is None


@pytest.mark.parametrize("receive_bytes", [65536, None])
def test_viewer_who_pauses_gets_a_fresh_picture_soon(few: Daemon, receive_bytes: int | None) -> None:
    with few.stream(receive_bytes=receive_bytes) as stream:
        stream.take(3)
        time.sleep(PAUSE_S)  # the pause is what this test is about
        resumed = time.time()
        old: list[Part] = []
        for part in stream:
            if part.read_at - part.captured < 1.0:
                break
            old.append(part)
        stale = sum(len(part.jpeg) for part in old)
        # What was in the buffers of both kernels: about 290 kB, three pictures, on a development PC. The
        # viewer's buffer grows while it reads, and is not the server's.
        assert stale <= 1_000_000 + stream.holds_bytes(), f"{stale} bytes in {len(old)} pictures"
        assert part.read_at - resumed < PAUSE_S, "the delay is as long as the pause"
        assert all(each.live for each in stream.take(3))


def test_websocket_that_stops_reading_is_dropped(few: Daemon) -> None:
    with open_websocket(few.port) as stalled, few.live() as other:
        port = stalled.getsockname()[1]
        assert stalled.recv(64).startswith(b"HTTP/1.1 101")
        # Not checked for this one, which may have been dropped by then.
        assert server_holds(few.port, other.socket.getsockname()[1])
        began, longest, last = time.monotonic(), 0.0, time.monotonic()
        while server_holds(few.port, port):
            assert time.monotonic() - began < DROPPED_WITHIN_S, "still held"
            other.recv(5)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < SEND_LIMIT_S


def first_line(daemon: Daemon, headers: dict[str, str]) -> bytes:
    """The status line of the answer to a WebSocket handshake."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    with open_websocket(daemon.port, headers=lines) as sock:
        answer = sock.recv(64)
        sock.shutdown(socket.SHUT_RDWR)
        return answer.partition(b"\r\n")[0]


def test_a_viewer_who_leaves_immediately_is_soon_no_longer_counted(few: Daemon) -> None:
    for _ in range(10):
        Stream(few.port, "/stream.mjpg").close()
        until(lambda: few.state()["viewers"] < MAX_VIEWERS, 5, "a place is free")
    until(lambda: few.state()["viewers"] == 0, 5, "all places are free again")
