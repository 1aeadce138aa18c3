"""The second worker: it starts when there is enough to do, shares the items, and its hang is found."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from appliance.errors import ModelError, WorkerStuck
from appliance.health import Health
from appliance.workers import TwoWorkers

WAIT_S = 20.0
"""Longer than any step takes; only a hang reaches it."""


class Tools:
    """Tools that know their owner."""

    def __init__(self, name: str) -> None:
        self.name, self.closed = name, threading.Event()

    def close(self) -> None:
        self.closed.set()


class Bench:
    """Two workers, and the tools of the second one."""

    def __init__(self, health: Health, limit_s: float = 8.0) -> None:
        self.opened = threading.Event()
        self.second = Tools("second")
        self.health = health
        self.workers = TwoWorkers(
            "vision-2", Tools("first"), self.open, from_people=3, limit_s=limit_s, health=health
        )

    def open(self) -> Tools:
        self.opened.set()
        return self.second

    def start(self) -> None:
        """Start the second worker, and wait until it shares."""
        self.workers.prepare(3)
        assert self.opened.wait(WAIT_S)
        while len({name for name, _ in self.workers.map(meet(), [1, 2])}) < 2:
            pass


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench(Health("test"))
    yield made
    made.workers.close()


def meet() -> Callable[[Tools, int], tuple[str, int]]:
    """Work that waits until two workers are at it, but only for a moment."""
    barrier = threading.Barrier(2)

    def work(tools: Tools, item: int) -> tuple[str, int]:
        with contextlib.suppress(threading.BrokenBarrierError):
            barrier.wait(0.5)
        return tools.name, item

    return work


def double(tools: Tools, item: int) -> int:
    return 2 * item


def test_one_worker_is_enough_for_two_people(bench: Bench) -> None:
    bench.workers.prepare(2)
    assert bench.workers.map(lambda tools, item: (tools.name, item), [1, 2]) == [("first", 1), ("first", 2)]
    assert not bench.opened.is_set()


def test_both_share_the_items_and_results_keep_their_order(bench: Bench) -> None:
    bench.start()
    for count in (0, 1, 2, 3, 8, 50):
        assert bench.workers.map(double, range(count)) == [2 * item for item in range(count)]


def test_an_error_of_either_is_raised(bench: Bench) -> None:
    bench.start()

    def work(tools: Tools, item: int) -> int:
        if item == 5:
            raise ModelError("item 5")
        return item

    with pytest.raises(ModelError, match="item 5"):
        bench.workers.map(work, range(8))
    assert bench.workers.map(double, range(4)) == [0, 2, 4, 6]


def test_it_ends_and_closes_its_tools_with_the_session(bench: Bench) -> None:
    bench.start()
    bench.workers.prepare(0)
    assert bench.second.closed.wait(WAIT_S)
    assert bench.workers.map(double, [1, 2, 3]) == [2, 4, 6]
    bench.workers.close()
    bench.workers.close()


def test_without_its_tools_one_worker_continues_alone(caplog: pytest.LogCaptureFixture) -> None:
    tried = threading.Event()

    def fail() -> Tools:
        tried.set()
        raise ModelError("no such file")

    workers = TwoWorkers("vision-2", Tools("first"), fail, from_people=3, limit_s=8.0)
    workers.prepare(3)
    assert tried.wait(WAIT_S)
    assert workers.map(double, [1, 2, 3]) == [2, 4, 6]
    workers.close()
    assert "vision-2 cannot start" in caplog.text


def test_a_hang_of_the_second_is_found_and_named() -> None:
    bench, release = Bench(Health("test"), limit_s=0.05), threading.Event()
    bench.start()
    begun = threading.Event()

    def hang(tools: Tools, item: int) -> None:
        if tools.name == "second":
            begun.set()
            release.wait(WAIT_S)
        else:
            begun.wait(WAIT_S)

    caller = threading.Thread(target=bench.workers.map, args=(hang, [1, 2]))
    caller.start()
    assert begun.wait(WAIT_S)
    with pytest.raises(WorkerStuck, match=r"vision-2 made no progress .* in its share of a frame"):
        while caller.is_alive():
            bench.health.check_heartbeats()
    release.set()
    caller.join(WAIT_S)
    bench.workers.close()
    assert bench.second.closed.wait(WAIT_S)
    bench.health.check_heartbeats()


def test_it_expects_no_heartbeat_while_it_waits_for_work(bench: Bench) -> None:
    bench.start()
    bench.workers.map(double, range(8))
    bench.workers.prepare(0)
    assert bench.second.closed.wait(WAIT_S)
    bench.health.extend_deadlines(0.0)
    bench.health.check_heartbeats()
