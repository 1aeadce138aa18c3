"""No one is analysed, and no camera opened, before everyone has agreed; Stop ends it immediately."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import pytest

from tests.e2e.daemon.driver import DOUBLES, Answer, Daemon, agreement, running, until
from tests.e2e.daemon.driver_doubles import MARK, OPENING, Noting, grey_of, noting
from tests.e2e.daemon.driver_schema import check_state


@pytest.fixture
def asking_demo(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon on the demo clip, treated as such a camera."""
    with running(tmp_path, "--camera", "demo", "--set", "camera.needs_agreement=true") as daemon:
        yield daemon


def test_nothing_is_seen_before_start(living: Noting) -> None:
    daemon, noted = living
    check_idle(daemon, "living")
    assert noted() == []


def test_a_demo_clip_that_needs_consent_is_idle_starts_and_stops(asking_demo: Daemon) -> None:
    check_idle(asking_demo, "demo")
    assert asking_demo.metrics()["interview_grader_frames_total"] == 0
    assert asking_demo.start_session().status == 200
    with asking_demo.stream() as stream:
        assert stream.take(3)[-1].live
        assert asking_demo.stop_session().status == 200
        for _ in stream:
            pass  # it ends
    until(lambda: asking_demo.state()["camera"]["state"] == "closed", 5, "closed")
    frames = asking_demo.metrics()["interview_grader_frames_total"]
    check_idle(asking_demo, "demo")
    assert asking_demo.metrics()["interview_grader_frames_total"] == frames


def test_clip_starts_live_and_can_be_stopped_and_started(demo: Daemon) -> None:
    assert demo.state()["state"] == "live"
    assert demo.stop_session().json() == {"state": "idle"}
    assert demo.request("/snapshot.jpg").status == 409
    assert demo.start_session().json() == {"state": "live"}
    until(lambda: demo.request("/snapshot.jpg").status == 200, 20, "the first frame")


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (agreement("0"), "application/json", 409),
        (agreement(""), "application/json", 409),
        ({}, "application/json", 400),
        ([], "application/json", 400),
        (None, "application/json", 400),
        ({"notice_version": 1}, "application/json", 400),
        ({"notice_version": "1", "people": 0}, "application/json", 400),
        ({"notice_version": "1", "people": "two"}, "application/json", 400),
        ({"notice_version": "1", "consent": True}, "application/json", 400),
        ("{", "application/json", 400),
        ("", "application/json", 400),
        ("\xff", "application/json", 400),
        ("notice_version=1", "application/x-www-form-urlencoded", 415),
        ('{"notice_version": "1"}', "text/plain", 415),
    ],
)
def test_a_start_without_consent_is_refused(
    idle: Daemon, body: object, content_type: str, status: int
) -> None:
    raw = body.encode("latin-1") if isinstance(body, str) else json.dumps(body).encode()
    answer = idle.request("/api/session/start", "POST", body=raw, headers={"Content-Type": content_type})
    assert answer.status == status, answer.body
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]
    assert idle.state()["state"] == "idle"
    assert idle.log_lines("ERROR") == []


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that no one starts."""
    folder: Path = tmp_path_factory.mktemp("idle")
    with running(folder, "--camera", "demo", "--set", "camera.needs_agreement=true") as daemon:
        yield daemon


def test_start_without_any_body_is_refused(idle: Daemon) -> None:
    assert idle.post("/api/session/start").status in (400, 415)
    assert idle.state()["state"] == "idle"


def test_reading_a_page_starts_nothing(idle: Daemon) -> None:
    assert idle.request("/api/session/start").status == 405
    assert idle.request("/").status == 200
    assert idle.state()["state"] == "idle"


def test_the_page_shows_the_notice_and_the_start_button(idle: Daemon) -> None:
    page = idle.request("/").body.decode()
    assert f'data-notice-version="{idle.state()["notice"]["version"]}"' in page
    assert 'id="start"' in page
    assert "expression is not a feeling" in page


def test_start_lights_the_lamp_before_opening_and_stop_switches_it_off_after_closing(living: Noting) -> None:
    daemon, noted = living
    assert daemon.start_session().status == 200
    with daemon.stream() as stream, daemon.live() as client:
        assert stream.take(3)[-1].live
        assert json.loads(client.recv(10))["faces"]
        assert daemon.request("/healthz").status == 200
        assert daemon.state()["camera"]["state"] == "open"
        assert steps(noted()) == ["lamp-on", "open"]
        assert noted().index("open") < noted().index("inference")
        assert daemon.stop_session().status == 200
        stopped = time.monotonic()
        for _ in stream:
            pass  # it ends
        assert time.monotonic() - stopped < 5
        until(lambda: steps(noted()) == ["lamp-on", "open", "close", "lamp-off"], 5, "closed, then dark")
        messages_until_silent(client)
    inferences = noted().count("inference")
    check_idle(daemon, "living")
    assert noted().count("inference") == inferences
    assert steps(noted()) == ["lamp-on", "open", "close", "lamp-off"]


def test_start_twice_is_one_session(living: Noting) -> None:
    daemon, noted = living
    for _ in range(2):
        assert daemon.start_session().status == 200
    with daemon.stream() as stream:
        stream.take(5)
    assert steps(noted()) == ["lamp-on", "open"]
    for _ in range(2):
        assert daemon.stop_session().status == 200
    until(lambda: steps(noted())[2:] == ["close", "lamp-off"], 5, "closed once")


def test_nothing_of_an_ended_session_is_shown_in_the_next(living: Noting) -> None:
    daemon, _ = living
    assert daemon.start_session().status == 200
    for opening in (1, 2, 3):
        with daemon.stream() as stream, daemon.live() as client:
            live = (part for part in stream if part.live)  # before the first frame it shows why there is none
            seen = list(islice(live, 5))
            assert [part.number // OPENING for part in seen] == [opening] * 5
            for part in seen:
                mark = part.image[8 : MARK - 8, 8 : MARK - 8].mean()
                assert abs(mark - grey_of(opening)) < 12, (opening, mark)
            assert json.loads(client.recv(10))["frame"] // OPENING == opening
            # Stop and start as fast as possible: the old viewers must not continue in the new session.
            assert daemon.stop_session().status == daemon.start_session().status == 200
            reading = daemon.state()["reading"]
            assert reading is None or reading["frame"] // OPENING == opening + 1
            assert {part.number // OPENING for part in stream} <= {opening}
            newer = until(partial(newer_reading, client, opening), 10, "readings of the new session")
            assert newer["faces"][0]["id"] == 1  # no one is remembered


def test_readings_after_stop_and_start_are_only_new_ones(living: Noting) -> None:
    daemon, _ = living
    assert daemon.start_session().status == 200
    until(lambda: daemon.state()["reading"], 10, "a reading")
    assert daemon.stop_session().status == 200
    with daemon.live() as client:
        # Stopped before it connected: all messages must belong to the next session.
        assert daemon.start_session().status == 200
        assert json.loads(client.recv(10))["frame"] // OPENING == 2


def test_stop_ends_a_snapshot_that_waits(living: Noting) -> None:
    daemon, _ = living
    answers: list[Answer] = []
    assert daemon.start_session().status == 200
    asking = threading.Thread(
        target=lambda: answers.extend(daemon.request("/snapshot.jpg") for _ in range(5))
    )
    asking.start()
    try:
        assert daemon.stop_session().status == 200
    finally:
        asking.join(30)
    assert len(answers) == 5
    assert {answer.status for answer in answers} <= {200, 409}
    assert answers[-1].status == 409


def test_consent_does_not_survive_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, *noting(tmp_path), module=DOUBLES) as daemon:
        assert daemon.start_session().status == 200
        until(lambda: daemon.state()["reading"], 10, "a reading")
    record = tmp_path / "record"
    assert steps(record.read_text().split()) == ["lamp-on", "open", "close", "lamp-off"]
    record.write_text("")
    with running(tmp_path, *noting(tmp_path), module=DOUBLES) as daemon:
        check_idle(daemon, "living")
    assert record.read_text() == ""


def check_idle(daemon: Daemon, backend: str) -> None:
    """Nothing is shown by any route, and the reason is given."""
    state = daemon.state()
    check_state(state, backend=backend)
    assert state["state"] == "idle"
    assert state["camera"]["state"] == "closed"
    assert state["camera"]["frame"] is None
    assert state["reading"] is None
    for path in ("/stream.mjpg", "/stream.mjpg?overlay=0", "/snapshot.jpg", "/snapshot.jpg?overlay=0"):
        answer = daemon.request(path)
        assert answer.status == 409
        assert answer.headers["Content-Type"] == "application/json"
        assert "agreed" in answer.json()["error"]
    health = daemon.request("/healthz")
    assert (health.status, health.json()) == (200, {"status": "idle", "reason": None})
    with daemon.live() as client, pytest.raises(TimeoutError):
        client.recv(1.0)
    assert daemon.metrics()["interview_grader_camera_open"] == 0


def messages_until_silent(client: object) -> None:
    """Messages in transit may arrive; then the WebSocket stays open and silent."""
    for _ in range(5):
        try:
            client.recv(1.0)  # type: ignore[attr-defined]
        except TimeoutError:
            return
    pytest.fail("readings continue after Stop")


def newer_reading(client: object, opening: int) -> dict[str, list[dict[str, int]]] | None:
    reading = json.loads(client.recv(10))  # type: ignore[attr-defined]
    assert reading["frame"] // OPENING in (opening, opening + 1)
    return reading if reading["frame"] // OPENING == opening + 1 else None


def steps(words: list[str]) -> list[str]:
    return [word for word in words if word != "inference"]
