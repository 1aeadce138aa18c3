"""Disk jobs run one after the other, even if one of them fails."""

from __future__ import annotations

import threading

import pytest

from appliance.system.background import BackgroundWriter


def full() -> None:
    raise OSError("full")


def without_memory() -> None:
    raise MemoryError


def test_a_failing_job_does_not_block_the_others(caplog: pytest.LogCaptureFixture) -> None:
    writer, done = BackgroundWriter(), threading.Event()
    writer.submit("one", full)
    writer.submit("two", done.set)
    assert done.wait(10)
    assert writer.flush(10) == []
    assert "one could not be written: full" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_ends_the_thread_and_the_next_job_still_runs() -> None:
    writer, held, done = BackgroundWriter(), threading.Event(), threading.Event()
    writer.submit("one", lambda: (held.wait(10), without_memory()))
    writer.submit("two", done.set)
    held.set()
    while not done.is_set() and writer.flush(1):  # as the daemon's tick and stop do
        pass
    assert done.is_set()
    assert writer.call("three", lambda: 3) == 3


def test_call_raises_the_exception_of_the_job() -> None:
    writer = BackgroundWriter()
    with pytest.raises(OSError, match="full"):
        writer.call("one", full)
    with pytest.raises(MemoryError):
        writer.call("two", without_memory)
