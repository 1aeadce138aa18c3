"""Records and versions: a trial of the migrations, and the downgrade to an older version."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytest

from appliance.commands import update_hooks
from appliance.errors import StoreError
from appliance.records.store import downgrade as downgrading
from appliance.records.store import schema, writer_lock
from appliance.records.store.downgrade import downgrade, try_migration
from appliance.records.store.schema import MIGRATIONS, Migration
from tests.fakes.records import ID, OTHER, Time, make_store, record

THIRD = "cccccccccccc"


def with_room(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN room TEXT NOT NULL DEFAULT ''")


def without_yaw(connection: sqlite3.Connection) -> None:
    """A migration that an older version cannot reverse: data that it needs is missing."""
    connection.execute("ALTER TABLE seconds DROP COLUMN frames")


NEWER = (*MIGRATIONS, Migration(2, "rooms", with_room))
UNREADABLE = (*MIGRATIONS, Migration(2, "without", without_yaw))


def migrated(folder: Path, migrations: tuple[Migration, ...]) -> None:
    """Open the records with a newer version."""
    with contextlib.closing(sqlite3.connect(folder / "records.db", isolation_level=None)) as connection:
        schema.migrate(connection, 0.0, migrations)


def recorded(folder: Path, *ids: str) -> Time:
    time = Time()
    store = make_store(folder, time)
    for id in ids:
        record(store, time, id)
    store.close()
    return time


def ids(folder: Path, time: Time) -> set[str]:
    store = make_store(folder, time)
    try:
        found = {kept.id for kept in store.sessions()}
        assert store.status.state == "ok"
        assert all(store.session(id).seconds for id in found)  # type: ignore[union-attr]
        return found
    finally:
        store.close()


def test_without_records_there_is_nothing_to_do(tmp_path):
    assert try_migration(tmp_path) == "none yet"
    assert downgrade(tmp_path) == ""
    assert not list(tmp_path.iterdir())


def test_records_of_this_version_stay_unchanged(tmp_path):
    time = recorded(tmp_path, ID)
    before = (tmp_path / "records.db").read_bytes()
    assert downgrade(tmp_path, time.clocks()) == ""
    assert (tmp_path / "records.db").read_bytes() == before


def test_a_trial_changes_nothing_and_replays_erasures(tmp_path):
    recorded(tmp_path, ID, OTHER)
    (tmp_path / "erasures.jsonl").write_text(f'{{"id": "{OTHER}", "time": 1}}\n')
    before = (tmp_path / "records.db").read_bytes()
    assert try_migration(tmp_path) == "1 sessions, schema 1"
    assert (tmp_path / "records.db").read_bytes() == before
    assert not list(tmp_path.glob("trial-*"))


def test_a_trial_left_by_a_power_cut_is_removed(tmp_path, monkeypatch):
    """It is a copy of all records, which nothing else would erase."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("INTERVIEW_GRADER__WEB__PROT", "80")  # the settings are invalid now
    for command in ("try", "fit"):
        (tmp_path / "trial-x").mkdir()
        (tmp_path / "trial-x" / "records.db").write_text("numbers of people")
        update_hooks.main([command])
        assert not (tmp_path / "trial-x").exists()


def test_a_trial_works_during_a_recording(tmp_path):
    time = Time()
    store = make_store(tmp_path, time)
    record(store, time, ID, end=False)
    assert try_migration(tmp_path) == "1 sessions, schema 1"
    store.end(ID)
    store.close()
    assert ids(tmp_path, time) == {ID}


def test_a_trial_of_damaged_records_leaves_them_to_the_next_start(tmp_path):
    (tmp_path / "records.db").write_bytes(b"no database at all, but long enough to look at" * 100)
    assert "damaged" in try_migration(tmp_path)
    assert downgrade(tmp_path) == ""


def test_records_of_a_newer_version_are_converted_with_its_sessions(tmp_path):
    time = recorded(tmp_path, ID, OTHER)
    migrated(tmp_path, NEWER)
    store = make_store(tmp_path, time, migrations=NEWER)
    record(store, time, THIRD)
    store.erase(OTHER)
    store.close()
    assert make_store(tmp_path, time).status.state == "ok"

    outcome = downgrade(tmp_path, time.clocks())
    assert outcome.startswith("2 sessions of a newer version were converted to schema 1")
    assert ids(tmp_path, time) == {ID, THIRD}
    assert downgrade(tmp_path, time.clocks()) == ""
    (aside,) = tmp_path.glob("records.before-rollback-*.db")
    assert aside.name in outcome


def test_erased_sessions_are_in_no_copy_and_stay_erased_after_the_next_update(tmp_path):
    time = recorded(tmp_path, ID, OTHER)
    migrated(tmp_path, NEWER)
    downgrade(tmp_path, time.clocks())
    store = make_store(tmp_path, time)
    store.erase(ID)
    store.close()
    for path in tmp_path.glob("records*.db"):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT id FROM sessions").fetchall() == [(OTHER,)]
    store = make_store(tmp_path, time, migrations=NEWER)
    assert {kept.id for kept in store.sessions()} == {OTHER}
    store.close()


def test_retention_removes_the_copy_of_a_rollback(tmp_path):
    time = recorded(tmp_path, ID)
    migrated(tmp_path, NEWER)
    downgrade(tmp_path, time.clocks())
    time.passes(8 * 86_400.0)
    store = make_store(tmp_path, time)
    store.tick()
    store.close()
    assert not list(tmp_path.glob("records.before-*"))


def test_unreadable_newer_records_are_replaced_by_the_previous_copy(tmp_path):
    time = recorded(tmp_path, ID, OTHER)
    store = make_store(tmp_path, time, migrations=NEWER)  # copies them before it migrates
    store.sessions()
    store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as connection:
        without_yaw(connection)
    (tmp_path / "erasures.jsonl").write_text(f'{{"id": "{OTHER}", "time": 1}}\n')
    outcome = downgrade(tmp_path, time.clocks())
    assert outcome.startswith("the records were restored from records.before-2-")
    assert ids(tmp_path, time) == {ID}


def test_without_a_copy_the_records_are_empty_and_nothing_is_lost(tmp_path):
    time = recorded(tmp_path, ID)
    migrated(tmp_path, UNREADABLE)
    assert downgrade(tmp_path, time.clocks()).startswith("the records are empty now")
    assert ids(tmp_path, time) == set()
    (aside,) = tmp_path.glob("records.before-rollback-*.db")
    with contextlib.closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [(ID,)]


@pytest.mark.parametrize("place", ["ages.save", "os.link", "replace"])
def test_an_interrupted_downgrade_is_repeated(tmp_path, monkeypatch, place):
    """`records.db` exists at every moment, and the second attempt completes the work."""
    time = recorded(tmp_path, ID)
    migrated(tmp_path, NEWER)

    def dies(*arguments: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        if place == "os.link":
            patched.setattr(downgrading.os, "link", dies)
        elif place == "ages.save":
            patched.setattr(downgrading.Ages, "save", dies)
        else:
            patched.setattr(Path, "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            downgrade(tmp_path, time.clocks())
    assert (tmp_path / "records.db").exists()
    downgrade(tmp_path, time.clocks())
    assert ids(tmp_path, time) == {ID}


def test_a_brief_lock_on_the_records_is_waited_for(tmp_path):
    time = recorded(tmp_path, ID)
    migrated(tmp_path, NEWER)
    newer = make_store(tmp_path, time, migrations=NEWER)
    newer.sessions()
    later = threading.Timer(0.5, newer.close)
    later.start()
    assert "were converted" in downgrade(tmp_path, time.clocks())
    later.join()


def test_records_in_use_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_lock, "WAIT_S", 0.2)
    time = recorded(tmp_path, ID)
    migrated(tmp_path, NEWER)
    newer = make_store(tmp_path, time, migrations=NEWER)
    newer.sessions()
    with pytest.raises(StoreError, match="has it open"):
        downgrade(tmp_path, time.clocks())
    newer.close()
