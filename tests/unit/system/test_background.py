"""Jobs for the disk: one after the other, whatever becomes of one of them."""

from __future__ import annotations

import threading

import pytest

from appliance.system.background import BackgroundWriter


def full() -> None:
    raise OSError("full")


def without_memory() -> None:
    raise MemoryError


def test_a_job_that_fails_keeps_no_other_from_the_disk(caplog: pytest.LogCaptureFixture) -> None:
    writer, done = BackgroundWriter(), threading.Event()
    writer.submit("one", full)
    writer.submit("two", done.set)
    assert done.wait(10)
    assert writer.flush(10) == []
    assert "one could not be written: full" in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_ends_the_thread_and_the_next_job_is_done_all_the_same() -> None:
    writer, held, done = BackgroundWriter(), threading.Event(), threading.Event()
    writer.submit("one", lambda: (held.wait(10), without_memory()))
    writer.submit("two", done.set)
    held.set()
    while not done.is_set() and writer.flush(1):  # as the tick of the daemon and its stop call it
        pass
    assert done.is_set()
    assert writer.call("three", lambda: 3) == 3


def test_what_a_caller_waits_for_raises_what_it_raised() -> None:
    writer = BackgroundWriter()
    with pytest.raises(OSError, match="full"):
        writer.call("one", full)
    with pytest.raises(MemoryError):
        writer.call("two", without_memory)
