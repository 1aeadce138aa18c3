"""Worker threads: steps, heartbeats, and how their end is reported."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from appliance.errors import SlotClosed, WorkerStuck
from appliance.health import Health
from appliance.workers import Worker
from tests.fakes.parts import WITHIN_S


class Team:
    """Workers that share one `Health`, and what they reported."""

    def __init__(self) -> None:
        self.health = Health("demo")
        self.failures: list[str] = []
        self.workers: list[Worker] = []

    def start(
        self, step: Callable[[], None], *, limit_s: float = 60.0, finish: Callable[[], None] | None = None
    ) -> Worker:
        worker = Worker(
            "vision", step, limit_s=limit_s, health=self.health, failed=self.failures.append, finish=finish
        )
        self.workers.append(worker)
        worker.start()
        return worker


@pytest.fixture
def team() -> Iterator[Team]:
    made = Team()
    yield made
    for worker in made.workers:
        worker.stop()
        assert worker.join(WITHIN_S)


def owes_a_beat(health: Health) -> bool:
    """Whether a heartbeat of the worker is still expected: an hour later it would be overdue."""
    then = time.monotonic() + 3600.0
    with pytest.MonkeyPatch.context() as later:
        later.setattr(time, "monotonic", lambda: then)
        try:
            health.check_heartbeats()
        except WorkerStuck:
            return True
        return False


def test_steps_are_repeated_until_the_stop(team: Team) -> None:
    often = threading.Semaphore(0)
    finished = threading.Event()
    pause = threading.Event()

    def step() -> None:
        often.release()
        pause.wait(0.001)

    worker = team.start(step, finish=finished.set)
    for _ in range(5):
        assert often.acquire(timeout=WITHIN_S)
    worker.stop()
    assert worker.join(WITHIN_S)
    assert finished.is_set() and team.failures == []
    assert not owes_a_beat(team.health)


def test_a_dead_worker_is_reported_and_removed(team: Team, caplog: pytest.LogCaptureFixture) -> None:
    finished = threading.Event()

    def step() -> None:
        raise RuntimeError("the sensor caught fire")

    with caplog.at_level(logging.ERROR):
        worker = team.start(step, finish=finished.set)
        assert worker.join(WITHIN_S)
    (reason,) = team.failures
    assert reason.startswith("vision died") and "the sensor caught fire" in reason
    assert any("vision" in record.getMessage() and record.exc_info for record in caplog.records)
    assert finished.is_set(), "its resources are released"
    assert not owes_a_beat(team.health)


def test_a_closed_slot_is_a_normal_end(team: Team) -> None:
    def step() -> None:
        raise SlotClosed("the slot is closed")

    assert team.start(step).join(WITHIN_S)
    assert team.failures == []
    assert not owes_a_beat(team.health)


def test_a_hung_worker_is_reported(team: Team) -> None:
    inside, release = threading.Event(), threading.Event()

    def step() -> None:
        inside.set()
        release.wait(WITHIN_S)

    worker = team.start(step, limit_s=-1.0)  # a limit that has already passed
    assert inside.wait(WITHIN_S)
    with pytest.raises(WorkerStuck, match=r"^vision made no progress"):
        team.health.check_heartbeats()
    assert not worker.join(0.01), "a join with too short a timeout returns False"
    release.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_fails_to_finish_is_reported_and_removed(team: Team) -> None:
    def step() -> None:
        raise SlotClosed("the slot is closed")

    def finish() -> None:
        raise OSError("the device does not answer")

    assert team.start(step, finish=finish).join(WITHIN_S)
    assert not owes_a_beat(team.health)
    (reason,) = team.failures
    assert "vision" in reason and "the device does not answer" in reason


def test_the_first_heartbeat_precedes_the_thread(team: Team) -> None:
    release = threading.Event()
    team.start(lambda: release.wait(WITHIN_S) and None)
    assert owes_a_beat(team.health)
    release.set()


def test_a_worker_that_was_never_started_can_be_joined(team: Team) -> None:
    worker = Worker("x", lambda: None, limit_s=1.0, health=team.health, failed=team.failures.append)
    assert worker.join(0.0)


def test_the_thread_has_the_name_of_its_worker(team: Team) -> None:
    names: list[str] = []

    def step() -> None:
        names.append(threading.current_thread().name)
        raise SlotClosed("once is enough")

    assert team.start(step).join(WITHIN_S)
    assert names == ["vision"]
