"""Jobs for the disk: one after the other, whatever becomes of one of them."""

from __future__ import annotations

import threading

import pytest

from appliance import background
from appliance.background import BackgroundWriter


def test_a_job_that_cannot_even_be_logged_keeps_no_other_from_the_disk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_memory(*_: object) -> None:
        raise MemoryError

    def fails() -> None:
        raise OSError("full")

    monkeypatch.setattr(background.log, "exception", without_memory)
    writer, done = BackgroundWriter(), threading.Event()
    writer.submit("one", fails)
    writer.submit("two", done.set)
    assert done.wait(10)
    assert writer.flush(10) == []
    assert writer.call("three", lambda: 3) == 3
