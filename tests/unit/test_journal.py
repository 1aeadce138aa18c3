"""Where the log goes, and what each entry of the journal carries. The booted tests read a real journal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import journal


@pytest.fixture
def of_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """An environment in which standard error is said to be the journal's."""
    with (tmp_path / "stream").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        found = os.fstat(stream.fileno())
        yield {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


def test_entries_name_worker_and_camera() -> None:
    fields = journal.Fields()
    record = logging.LogRecord("appliance.camera", logging.INFO, "", 0, "lost", None, None)
    assert fields.filter(record) and record.__dict__["WORKER"] == "MainThread"
    assert "CAMERA" not in record.__dict__
    fields.camera = "usb"
    assert fields.filter(record) and record.__dict__["CAMERA"] == "usb"


def test_another_stream_is_not_the_journal(of_journal: dict[str, str]) -> None:
    for environment in ({}, {"JOURNAL_STREAM": "8:1"}):
        (handler,) = journal.handlers(environment)
        assert type(handler) is logging.StreamHandler


def test_without_the_package_it_goes_to_standard_error(
    of_journal: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "systemd", None)
    monkeypatch.setitem(sys.modules, "systemd.journal", None)
    (handler,) = journal.handlers(of_journal)
    assert type(handler) is logging.StreamHandler


def test_the_camera_is_named_on_every_later_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    handler, fields = logging.NullHandler(), journal.Fields()
    handler.addFilter(fields)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    journal.name_camera("demo")
    assert fields.camera == "demo"
