"""Heartbeats, the camera's state, rates, and the status derived from them."""

from __future__ import annotations

import threading
import time

import pytest

from appliance.errors import WorkerStuck
from appliance.health import FRESH_S, STARTING_S, Health, Rate
from tests.fakes.clock import Clock
from tests.fakes.parts import frame, in_threads, picture


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(time, "monotonic", made)
    return made


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health("usb")


def test_a_worker_within_its_limit_is_healthy(health: Health, clock: Clock) -> None:
    health.heartbeat("vision", 10.0)
    clock.now += 10.0
    health.check_heartbeats()


@pytest.mark.parametrize("stage", ["", "detect"])
def test_a_hung_worker_is_reported_with_its_time_and_stage(health: Health, clock: Clock, stage: str) -> None:
    health.heartbeat("capture", 15.0)
    health.heartbeat("vision", 10.0, stage)
    clock.now += 12.5
    with pytest.raises(WorkerStuck, match=r"^vision .*12\.5 s.*10 s") as caught:
        health.check_heartbeats()
    assert stage in str(caught.value)


def test_a_removed_worker_needs_no_heartbeat(health: Health, clock: Clock) -> None:
    health.heartbeat("vision", 10.0)
    health.remove_worker("vision")
    health.remove_worker("never there")
    clock.now += 100.0
    health.check_heartbeats()


def test_the_next_heartbeat_renews_the_deadline(health: Health, clock: Clock) -> None:
    for _ in range(5):
        health.heartbeat("vision", 10.0)
        clock.now += 9.0
        health.check_heartbeats()


def test_time_in_which_no_worker_could_run_does_not_count(health: Health, clock: Clock) -> None:
    health.heartbeat("vision", 10.0)
    clock.now += 3600.0
    health.heartbeat("capture", 15.0)
    health.extend_deadlines(3595.0)
    health.check_heartbeats()
    clock.now += 5.5
    with pytest.raises(WorkerStuck, match=r"^vision .*10\.5 s"):
        health.check_heartbeats()
    health.remove_worker("vision")
    clock.now += 10.0
    with pytest.raises(WorkerStuck, match=r"^capture .*15\.5 s"):
        health.check_heartbeats()


def test_time_without_a_processor_extends_only_the_deadline_of_that_worker(
    health: Health, clock: Clock
) -> None:
    health.heartbeat("vision", 10.0)
    other = threading.Thread(target=health.heartbeat, args=("capture", 15.0))
    other.start()
    other.join()
    clock.now += 20.0
    health.extend_deadlines(1.0, {threading.get_native_id(): 12.0})
    with pytest.raises(WorkerStuck, match=r"^capture .*19\.0 s"):
        health.check_heartbeats()
    health.remove_worker("capture")
    health.check_heartbeats()
    clock.now += 2.5
    with pytest.raises(WorkerStuck, match=r"^vision .*10\.5 s"):
        health.check_heartbeats()


def test_since_moves_only_when_the_state_changes(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    wall = Clock()
    monkeypatch.setattr(time, "time", wall)
    health.set_camera_state("lost", "unplugged")
    first = health.camera.since
    wall.now += 60
    health.set_camera_state("lost", "still unplugged")
    assert (health.camera.since, health.camera.reason) == (first, "still unplugged")
    health.set_camera_state("open")
    assert (health.camera.since, health.camera.reason) == (wall.now, None)


@pytest.mark.parametrize("state", ["lost", "closed"])
def test_without_an_open_camera_there_is_no_newest_frame(health: Health, clock: Clock, state: str) -> None:
    health.set_camera_state("open")
    health.record_frame(frame(7, clock.now))
    assert health.frame_age() == 0.0
    health.set_camera_state(state)
    assert health.frame_age() is None
    assert health.newest_frame is None


def test_the_newest_frame_and_the_rate_of_the_camera(health: Health, clock: Clock) -> None:
    health.set_camera_state("open")
    for number in range(11):
        health.record_frame(frame(number, clock.now, picture(1280, 720)))
        clock.now += 0.1
    newest = health.newest_frame
    assert newest is not None
    assert (newest.number, newest.width, newest.height) == (10, 1280, 720)
    assert (health.camera.backend, health.camera.state) == ("usb", "open")
    assert health.rate("camera") == pytest.approx(10.0)
    assert health.frame_age() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("session", "live_s", "camera", "age", "status", "word"),
    [
        ("idle", 99.0, "closed", None, "idle", None),
        ("idle", 99.0, "lost", None, "idle", None),
        ("paused", 99.0, "closed", None, "idle", None),
        ("live", 0.0, "closed", None, "starting", "no frame yet"),
        ("live", STARTING_S - 0.01, "closed", None, "starting", "no frame yet"),
        ("live", STARTING_S, "closed", None, "failing", "no frame yet"),
        ("live", 99.0, "open", None, "failing", "no frame yet"),
        ("live", 0.0, "open", 0.0, "ok", None),
        ("live", 99.0, "open", FRESH_S - 0.01, "ok", None),
        ("live", 3.0, "open", FRESH_S, "failing", "2.0 s old"),
        ("live", 0.0, "lost", None, "failing", "camera lost"),
    ],
)
def test_status(
    health: Health,
    clock: Clock,
    session: str,
    live_s: float,
    camera: str,
    age: float | None,
    status: str,
    word: str | None,
) -> None:
    health.set_camera_state(camera, "/home/alice/bob.mp4 is gone" if camera == "lost" else None)
    if age is not None:
        health.record_frame(frame(1, clock.now))
        clock.now += age
    found, reason = health.status(session, live_s)
    assert found == status and "bob" not in (reason or "")
    assert (reason is None) if word is None else (reason is not None and word in reason)


@pytest.mark.parametrize("fps", [1.0, 5.0, 30.0, 240.0])
def test_rate_is_events_a_second(fps: float) -> None:
    rate = Rate()
    for index in range(1, 1000):
        rate.add(index / fps)
    assert rate.value(999 / fps) == pytest.approx(fps)


def test_rate_is_zero_without_recent_events() -> None:
    rate = Rate(window_s=3.0)
    assert rate.value(0.0) == 0.0
    rate.add(1.0)
    assert rate.value(1.0) == 0.0
    rate.add(2.0)
    assert rate.value(2.0) == 1.0
    assert rate.value(6.0) == 0.0


def test_counters_lose_nothing_under_threads() -> None:
    health = Health("demo")

    def count() -> None:
        for _ in range(2000):
            health.count("encoded", 1)
            health.record_reading(2, detect=0.5)

    in_threads(count, count, count)
    assert health.counts["encoded"] == 6000
    assert (health.counts["readings"], health.counts["skipped"]) == (6000, 12000)
    assert health.seconds["detect"] == pytest.approx(3000)
