"""Edge cases of the records: companions of the file, the cost in a header, a sweep that finds nothing."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from appliance.records.backup import MAGIC, parse_header
from appliance.records.store import database
from tests.fakes.records import ID, Time, make_store, record, session_info


@pytest.mark.parametrize(
    ("cost", "known"), [(13, False), (14, True), (15, True), (16, True), (17, True), (18, False)]
)
def test_a_backup_header_may_not_ask_for_any_cost(cost: int, known: bool) -> None:
    """A value from a file must not make the device use unlimited memory."""
    header = {
        "ids": [],
        "made": 0.0,
        "lived": 0.0,
        "cost": 2**cost,
        "salt": base64.b64encode(bytes(16)).decode(),
        "nonce": base64.b64encode(bytes(12)).decode(),
    }
    assert (parse_header(MAGIC + json.dumps(header).encode() + b"\n") is not None) is known


def test_a_file_is_moved_and_removed_with_its_companions(tmp_path: Path) -> None:
    """The last rows are in the write-ahead log; next to another file SQLite would apply it to that file."""
    path, to = tmp_path / "records.db", tmp_path / "aside.db"
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / f"records.db{suffix}").write_text(f"content{suffix}")
    database.move(path, to)
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        f"aside.db{suffix}": f"content{suffix}" for suffix in ("", "-wal", "-shm")
    }


def test_a_foreign_file_in_place_of_a_companion_does_not_stop_recording(tmp_path: Path) -> None:
    for suffix in database.COMPANIONS:
        (tmp_path / f"records.db{suffix}").mkdir()
    store, time = make_store(tmp_path), Time()
    record(store, time)
    assert [kept.id for kept in store.sessions()] == [ID]
    store.close()


def test_a_sweep_that_finds_nothing_reports_nothing(tmp_path: Path) -> None:
    """Also if there is no file yet, only one that was set aside some time ago."""
    events: list[dict[str, object]] = []
    (tmp_path / "records.damaged-20261123T101500.db").write_bytes(b"damaged")
    store = make_store(tmp_path, on_event=lambda **details: events.append(details))
    store.tick()
    store.close()
    assert events == []


def test_the_age_of_the_first_session_is_on_the_disk_when_recording_starts(tmp_path: Path) -> None:
    """It dates a damaged file, even after a power cut in the first minutes."""
    store = make_store(tmp_path, Time())
    try:
        store.begin(session_info(ID))
        assert json.loads((tmp_path / "records.age.json").read_text())["oldest"] is not None
    finally:
        store.close()
