"""The threads of the views: how many, in which order, and how they end."""

from __future__ import annotations

import threading
from time import monotonic

import pytest

from appliance.web.transport import thread_pool
from appliance.web.transport.thread_pool import ThreadPool
from tests.fakes.parts import WITHIN_S


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("view-")}


def test_a_thread_starts_when_it_is_needed_and_the_next_job_takes_the_same() -> None:
    pool, held = ThreadPool(2, "view"), threading.Event()
    assert names() == set()
    waiting = [pool.submit(held.wait) for _ in range(4)]
    assert names() == {"view-1", "view-2"}
    held.set()
    assert all(each.result(WITHIN_S) for each in waiting)
    assert pool.stop(monotonic() + WITHIN_S) == [] and names() == set()


def test_who_is_known_goes_first() -> None:
    pool, held, done = ThreadPool(1, "view"), threading.Event(), list[str]()
    pool.submit(held.wait)
    jobs = [pool.submit(lambda: done.append("stranger")) for _ in range(2)]
    jobs.append(pool.submit(lambda: done.append("known"), first=True))
    held.set()
    for each in jobs:
        each.result(WITHIN_S)
    assert done == ["known", "stranger", "stranger"]
    assert pool.stop(monotonic() + WITHIN_S) == []


def test_a_thread_without_a_job_ends_and_another_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_pool, "KEEP_S", 0.01)
    pool = ThreadPool(1, "view")
    for number in range(20):
        assert pool.submit(lambda number=number: number).result(WITHIN_S) == number
        for thread in threading.enumerate():
            if number % 2 and thread.name == "view-1":
                thread.join(WITHIN_S)
    assert pool.stop(monotonic() + WITHIN_S) == []


def test_an_error_belongs_to_the_one_who_asked() -> None:
    pool = ThreadPool(1, "view")
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 / 0).result(WITHIN_S)
    assert pool.submit(lambda: 1).result(WITHIN_S) == 1
    assert pool.stop(monotonic() + WITHIN_S) == []
