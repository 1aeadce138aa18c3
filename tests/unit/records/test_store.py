"""The store on a real SQLite file: sessions, erasing, retention, damage, full disks, migrations."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import StateConflict, StoreError
from appliance.records import EXPORTS, StorageLimits, Store
from appliance.records.store.schema import MIGRATIONS, Migration
from tests.fakes.parts import in_threads
from tests.fakes.records import (
    DAY_S,
    ID,
    NOW,
    OTHER,
    Time,
    everything,
    make_store,
    record,
    second,
    session_info,
)

WORD = "a word that no one else writes"


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(folder: Path, time: Time) -> Iterator[Store]:
    made = make_store(folder, time)
    yield made
    made.close()


def reopened(store: Store, folder: Path, time: Time, **more: Any) -> Store:
    """As after a clean restart of the process."""
    store.close()
    made = make_store(folder, time, **more)
    made.tick()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def sweep(store: Store, time: Time, seconds: float) -> None:
    """Let time pass by the hour, as the recorder's thread would."""
    for _ in range(round(seconds / 3600)):
        time.passes(3600)
        store.tick()


# --- sessions ---


def test_nothing_is_on_the_disk_before_a_recording(store: Store, folder: Path) -> None:
    store.tick()
    store.erase(ID)
    assert store.sessions() == []
    assert store.session(ID) is None
    assert store.find_link("x") is None
    assert not folder.exists()


def test_a_session_comes_back_as_it_was_written(store: Store, time: Time) -> None:
    store.begin(session_info(label="practice", note="second try", link_hash="abc"))
    rows = [second(0), second(0, person=2, yaw=3.5, body=None, nods=1)]
    time.passes(1.5)
    store.mark(ID, "question 2")
    store.add(ID, rows)
    time.passes(1.0)
    store.end(ID)
    session = store.session(ID)
    assert session is not None
    assert list(session.seconds) == rows
    assert [(marker.at, marker.text) for marker in session.markers] == [(1.5, "question 2")]
    kept = session.summary
    assert (kept.label, kept.note, kept.people, kept.persons, kept.seconds) == (
        "practice",
        "second try",
        1,
        2,
        1,
    )
    assert (kept.recorded, kept.ended, kept.ending, kept.clock_set) == (NOW, NOW + 2.5, "stopped", True)
    assert kept.expires == pytest.approx(NOW + 2.5 + 7 * DAY_S)
    assert store.find_link("abc") == ID
    assert store.find_link("") is None


def test_a_jumping_clock_changes_no_dates(store: Store, time: Time) -> None:
    store.begin(session_info())
    time.wall += 5 * 365 * DAY_S
    time.passes(2.0)
    store.end(ID)
    kept = store.sessions()[0]
    assert (kept.recorded, kept.ended) == (NOW, NOW + 2.0)


def test_a_clock_that_was_never_set_is_reported(store: Store, time: Time) -> None:
    time.wall = 100.0
    store.begin(session_info())
    assert not store.sessions()[0].clock_set


def test_the_newest_session_is_first_even_if_the_clock_went_back(store: Store, time: Time) -> None:
    record(store, time, ID)
    time.wall -= 365 * DAY_S
    record(store, time, OTHER)
    assert [kept.id for kept in store.sessions()] == [OTHER, ID]


def test_seconds_after_the_end_are_dropped(store: Store, time: Time) -> None:
    record(store, time)
    store.add(ID, [second(9)])
    store.add(OTHER, [second(9)])
    assert store.sessions()[0].seconds == 3
    with pytest.raises(StateConflict, match="nothing is recorded"):
        store.mark(ID, "late")


def test_an_erasure_by_another_process_ends_the_recording(store: Store, folder: Path, time: Time) -> None:
    """As a command of an older version does; the current one refuses."""
    stopped: list[tuple[str, str]] = []
    store.on_stopped = lambda id, reason: stopped.append((id, reason))
    record(store, time, end=False)
    for table in ("seconds", "sessions"):
        _execute(store.path, f"DELETE FROM {table}")
    store.add(ID, [second(9)])
    store.add(ID, [second(10)])
    assert stopped == [(ID, f"session {ID} was erased by another process")]
    assert (store.session(ID), store.began(ID)) == (None, None)
    assert store.status.state == "ok"


def test_a_session_may_be_recorded_twice(store: Store, time: Time) -> None:
    record(store, time)
    time.passes(10.0)
    store.begin(session_info())
    store.add(ID, [second(13)])
    store.end(ID)
    assert store.sessions()[0].ended == NOW + 13.0


def test_an_erased_session_does_not_begin_again(store: Store, time: Time) -> None:
    record(store, time)
    store.erase(ID)
    with pytest.raises(StoreError, match="erased"):
        store.begin(session_info())


def test_only_the_owner_can_read_the_files(store: Store, folder: Path, time: Time) -> None:
    record(store, time, end=False)
    for path in folder.glob("records.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_each_commit_is_synced_to_the_disk(store: Store) -> None:
    store.begin(session_info())
    connection = store._file.open()
    assert connection is not None
    pragma = {
        name: connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("synchronous", "secure_delete", "journal_mode")
    }
    assert pragma == {"synchronous": 2, "secure_delete": 1, "journal_mode": "wal"}


def test_readers_and_the_writer_do_not_block_each_other(store: Store, time: Time) -> None:
    store.begin(session_info())
    done = threading.Event()

    def write() -> None:
        try:
            for number in range(60):
                store.add(ID, [second(number)])
        finally:
            done.set()

    def read() -> None:
        seen = 0
        while not done.is_set():
            session = store.session(ID)
            assert session is not None
            assert len(session.seconds) >= seen
            seen = len(session.seconds)

    in_threads(write, read, read)
    assert store.sessions()[0].seconds == 60


# --- unplanned ends ---


def test_a_clean_stop_ends_the_session(store: Store, folder: Path, time: Time) -> None:
    record(store, time, end=False)
    store.close()
    with closing(make_store(folder, time)) as again:
        kept = again.sessions()[0]
        assert (kept.ending, kept.ended) == ("stopped", NOW + 3.0)


@pytest.mark.parametrize("seconds", [0, 4])
def test_a_session_left_open_is_closed_by_its_last_row(
    store: Store, folder: Path, time: Time, seconds: int
) -> None:
    record(store, time, seconds=seconds, end=False)
    store._file.close()  # without ending the session
    time.switched_off(2 * DAY_S)
    with closing(make_store(folder, time)) as again:
        again.tick()
        kept = again.sessions()[0]
        assert (kept.ending, kept.ended, kept.seconds) == ("power", NOW + seconds, seconds)


def test_a_command_does_not_close_the_appliances_session(store: Store, folder: Path, time: Time) -> None:
    record(store, time, end=False)
    with closing(make_store(folder, time)) as command:
        assert [kept.ended for kept in command.sessions()] == [None]
    store.add(ID, [second(5)])
    assert store.sessions()[0].seconds == 6


def test_a_second_process_becomes_the_writer_when_the_first_has_ended(folder: Path, time: Time) -> None:
    first, daemon = make_store(folder, time), make_store(folder, time)
    record(first, time, end=False)
    daemon.tick()
    first._file.close()
    time.passes(61)
    daemon.tick()
    assert daemon.sessions()[0].ending == "power"
    daemon.close()


# --- erasing ---


def leave_traces(store: Store, folder: Path, time: Time) -> None:
    """Two sessions, one of them everywhere: rows, marker, export, a copy before a migration, a backup."""
    store.begin(session_info(label=WORD, note=WORD))
    store.add(ID, [second(number, x=1234.5678) for number in range(300)])
    store.mark(ID, WORD)
    store.end(ID)
    record(store, time, OTHER)
    (folder / EXPORTS).mkdir()
    (folder / EXPORTS / "one.csv").write_text(f"# session,{ID}\n")
    (folder / EXPORTS / f"{ID}.pdf").write_bytes(b"compressed")
    (folder / EXPORTS / "other.csv").write_text(f"# session,{OTHER}\n")
    store.backup(folder / EXPORTS / "all.backup", "correct horse")
    connection = store._file.open()
    assert connection is not None
    from appliance.records.store import database

    database.copy(connection, folder / "records.before-2-20260101T000000.db")
    (folder / "records.damaged-20260101T000000.db").write_bytes(b"not a database " + WORD.encode() * 100)


def test_erasing_leaves_nothing_anywhere(store: Store, folder: Path, time: Time) -> None:
    leave_traces(store, folder, time)
    assert WORD.encode() in everything(folder)
    store.erase(ID)
    left = everything(folder)
    assert WORD.encode() not in left
    assert b"\x40\x93\x4a\x45\x6d\x5c\xfa\xad" not in left, "a box of it (1234.5678) as SQLite writes it"
    assert [kept.id for kept in store.sessions()] == [OTHER]
    assert names(folder / EXPORTS) == ["other.csv"]
    assert not list(folder.glob("records.damaged-*"))
    assert (folder / "records.db-wal").stat().st_size == 0
    copied = folder / "records.before-2-20260101T000000.db"
    with closing(sqlite3.connect(copied)) as connection:
        assert connection.execute("SELECT id FROM sessions").fetchall() == [(OTHER,)]
    ids = (folder / "erasures.jsonl").read_text()
    assert ID in ids and OTHER not in ids


def test_a_session_can_be_erased_while_it_is_recorded(store: Store, time: Time) -> None:
    record(store, time, end=False)
    store.erase(ID)
    store.add(ID, [second(7)])
    store.end(ID)
    assert store.sessions() == []
    assert store.began(ID) is None


def test_a_backup_elsewhere_that_contains_it_is_removed_too(store: Store, tmp_path: Path, time: Time) -> None:
    record(store, time, ID)
    record(store, time, OTHER)
    store.backup(tmp_path / "mine", "correct horse")
    store.erase(ID)
    assert not (tmp_path / "mine").exists()


def test_a_backup_in_an_inaccessible_folder_blocks_nothing(
    store: Store, folder: Path, tmp_path: Path, time: Time
) -> None:
    """Like a home folder for the service in its sandbox."""
    record(store, time)
    (folder / EXPORTS).mkdir()
    (folder / EXPORTS / "one.csv").write_text(f"# session,{ID}\n")
    with pytest.raises(StoreError, match="cannot be written"):
        store.backup(tmp_path / ("x" * 300), "correct horse")
    again = reopened(store, folder, time)
    assert len(again.sessions()) == 1
    again.erase(ID)
    assert again.sessions() == [] and list((folder / EXPORTS).iterdir()) == []
    again.close()


def test_a_copy_that_cannot_be_removed_does_not_stop_retention(
    store: Store, folder: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, time)
    record(store, time, OTHER)
    (folder / EXPORTS).mkdir()
    store.backup(folder / EXPORTS / "all.backup", "correct horse")

    def refuses(path: Path, **more: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refuses)
        with pytest.raises(StoreError, match="Read-only"):
            store.erase(ID)
        sweep(store, time, 8 * DAY_S)
        assert store.sessions() == [], "the other session was too old"


def test_a_backup_elsewhere_is_removed_when_everything_in_it_is_too_old(
    store: Store, tmp_path: Path, time: Time
) -> None:
    record(store, time, ID)
    store.backup(tmp_path / "mine", "correct horse")
    store.backup(tmp_path / "cut", "correct horse")
    (tmp_path / "cut").rename(tmp_path / "cut.part")
    store.tick()
    sweep(store, time, 6 * DAY_S)
    assert (tmp_path / "mine").exists()
    sweep(store, time, DAY_S + 7200)
    assert not (tmp_path / "mine").exists() and not (tmp_path / "cut.part").exists()


def test_another_devices_backup_at_the_same_path_is_not_removed(
    store: Store, tmp_path: Path, time: Time
) -> None:
    record(store, time, ID)
    store.backup(tmp_path / "mine", "correct horse")
    other = make_store(tmp_path / "other", time)
    time.passes(5)
    record(other, time, OTHER)
    other.backup(tmp_path / "theirs", "correct horse")
    other.close()
    (tmp_path / "theirs").replace(tmp_path / "mine")
    store.tick()
    sweep(store, time, 8 * DAY_S)
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize("id", ["", "x", "../../etc", "0123456789AB", "0123456789ab0", "' OR 1=1"])
def test_an_invalid_id_is_harmless(store: Store, time: Time, id: str) -> None:
    record(store, time, OTHER)
    store.erase(id)
    store.end(id)
    assert len(store.sessions()) == 1


def test_a_reader_delays_an_erasure_which_finishes_later(
    store: Store, folder: Path, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, time)
    connection = store._file.open()
    assert connection is not None
    connection.execute("PRAGMA busy_timeout = 50")
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM seconds").fetchone()
        with pytest.raises(StoreError, match="reads"):
            store.erase(ID)
        assert store.session(ID) is None
    time.passes(61)
    store.tick()
    store.tick()
    assert (folder / "records.db-wal").stat().st_size == 0
    assert store._erasures.unfinished() == set()


def test_a_crash_between_erasure_log_and_rows_is_recovered(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    store._erasures.begin({ID}, NOW)
    store = reopened(store, folder, time)
    assert store.sessions() == []
    store.close()


def test_rows_that_come_back_with_an_old_file_are_erased_again(
    store: Store, folder: Path, time: Time
) -> None:
    record(store, time)
    store.close()
    old = store.path.read_bytes()
    with closing(make_store(folder, time)) as again:
        again.erase(ID)
    store.path.write_bytes(old)
    with closing(make_store(folder, time)) as again:
        assert again.sessions() == []


def test_a_lost_erasure_log_is_written_again(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    store.erase(ID)
    (folder / "erasures.jsonl").unlink()
    store = reopened(store, folder, time)
    assert ID in store._erasures.ids()
    store.close()


# --- retention ---


def test_a_session_is_erased_after_keep_days(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    leave = ID.encode()
    sweep(store, time, 7 * DAY_S - 3600)
    assert len(store.sessions()) == 1
    sweep(store, time, 2 * 3600)
    assert store.sessions() == []
    assert leave not in everything(folder)


@pytest.mark.parametrize("jump", [3 * 3600.0, 3 * 365 * DAY_S, -3 * 3600.0, -30 * 365 * DAY_S])
@pytest.mark.parametrize("restart", [False, True])
def test_a_jumping_clock_neither_erases_early_nor_keeps_too_long(
    store: Store, folder: Path, time: Time, jump: float, restart: bool
) -> None:
    record(store, time)
    store.tick()
    time.wall += jump
    if restart:
        store = reopened(store, folder, time)
    sweep(store, time, 6 * DAY_S)
    assert len(store.sessions()) == 1
    sweep(store, time, DAY_S + 7200)
    assert store.sessions() == []
    store.close()


def test_a_device_that_was_off_erases_old_sessions(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    store.close()
    time.switched_off(30 * DAY_S)
    store = reopened(store, folder, time)
    sweep(store, time, 8 * 3600)
    assert store.sessions() == []
    store.close()


def test_even_a_long_session_keeps_no_row_beyond_keep_days(store: Store, folder: Path, time: Time) -> None:
    record(store, time, ID, end=False)
    for _ in range(20):
        time.passes(3600)
    store.end(ID)
    sweep(store, time, 7 * DAY_S - 21 * 3600)
    assert len(store.sessions()) == 1
    sweep(store, time, 2 * 3600)
    assert store.sessions() == []


def test_old_copies_and_exports_are_removed_too(store: Store, folder: Path, time: Time) -> None:
    leave_traces(store, folder, time)
    store.tick()
    sweep(store, time, 7 * DAY_S + 7200)
    assert names(folder / EXPORTS) == []
    assert not [name for name in names(folder) if "before" in name or "damaged" in name]


def test_a_damaged_file_is_as_old_as_its_oldest_row(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    sweep(store, time, 5 * DAY_S)
    store.close()
    store.path.write_bytes(b"damaged" * 1000)
    store = make_store(folder, time)
    store.tick()
    assert store.status.state == "set_aside"
    sweep(store, time, 2 * DAY_S + 7200)
    assert not list(folder.glob("records.damaged-*"))
    assert store.status.state == "ok"
    store.close()


def test_retention_is_reported(folder: Path, time: Time) -> None:
    events: list[dict[str, object]] = []
    store = make_store(folder, time, on_event=lambda **details: events.append(details))
    record(store, time)
    sweep(store, time, 7 * DAY_S + 7200)
    assert events == [{"what": "swept", "sessions": 1, "files": 0}]
    store.close()


# --- a full disk ---


def test_without_disk_space_recording_does_not_start(folder: Path, time: Time) -> None:
    store = make_store(folder, time, free_mb=lambda path: 150.0)
    with pytest.raises(StoreError, match=r"150 MB left and storage\.min_free_mb is 200"):
        store.begin(session_info())
    assert store.status.state == "full"
    assert not store.path.exists()
    store.close()


def test_freed_disk_space_is_noticed_before_there_are_records(folder: Path, time: Time) -> None:
    free = 150.0
    store = make_store(folder, time, free_mb=lambda path: free)
    store.tick()
    with pytest.raises(StoreError):
        store.begin(session_info())
    time.passes(61)
    store.tick()
    assert store.status.state == "full"
    free = 300.0
    time.passes(61)
    store.tick()
    assert store.status.state == "ok"
    assert not store.path.exists()
    store.close()


def test_recording_stops_when_the_disk_fills_and_works_again_with_space(folder: Path, time: Time) -> None:
    free = 300.0
    store = make_store(folder, time, free_mb=lambda path: free)
    stopped: list[tuple[str, str]] = []
    store.on_stopped = lambda id, reason: stopped.append((id, reason))
    record(store, time, end=False)
    free = 100.0
    store.add(ID, [second(3)])
    store.add(ID, [second(4)])
    assert [id for id, _ in stopped] == [ID]
    assert "free some space" in stopped[0][1]
    assert store.status.state == "full"
    assert store.sessions()[0].ending == "full"
    assert store.sessions()[0].seconds == 3
    free = 300.0
    time.passes(61)
    store.tick()
    assert store.status.state == "ok"
    store.begin(session_info(OTHER))
    store.close()


def test_the_callback_may_use_the_store_from_another_thread(folder: Path, time: Time) -> None:
    free = 300.0
    store = make_store(folder, time, free_mb=lambda path: free)
    record(store, time, end=False)
    store.on_stopped = lambda id, reason: in_threads(lambda: store.end(id))
    free = 0.0
    store.add(ID, [second(3)])
    store.close()


def test_sqlite_reports_a_full_disk(store: Store, time: Time) -> None:
    record(store, time, end=False)
    connection = store._file.open()
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(3, 2000):
        store.add(ID, [second(number)])
    assert store.status.state == "full"
    connection.execute("PRAGMA max_page_count = 1000000")
    time.passes(61)
    store.tick()
    kept = store.sessions()[0]
    assert kept.ended is not None
    assert 3 <= kept.seconds < 2000
    assert store.status.state == "ok"


# --- damage ---


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _overwrite(path: Path, at: int, count: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * count)


def _execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def _instead(path: Path, kind: str) -> None:
    import os

    path.unlink()
    if kind == "folder":
        path.mkdir()
        (path / "file").write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/nowhere/at/all")


DAMAGES = {
    "cut": _cut,
    "header": lambda path: _overwrite(path, 0, 100),
    "pages": lambda path: _overwrite(path, 4096, 20_000),
    "text": lambda path: path.write_text("dear diary\n" * 1000),
    "short": lambda path: path.write_bytes(b"SQLite"),
    "another program's": lambda path: _execute(path, "PRAGMA application_id = 1"),
    "table gone": lambda path: _execute(path, "DROP TABLE seconds"),
    "column gone": lambda path: _execute(path, "ALTER TABLE seconds DROP COLUMN happy"),
    "migrations gone": lambda path: _execute(path, "DROP TABLE migrations"),
    "folder": lambda path: _instead(path, "folder"),
    "pipe": lambda path: _instead(path, "pipe"),
    "link": lambda path: _instead(path, "link"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_set_aside_and_recording_continues(
    store: Store, folder: Path, time: Time, damage: str
) -> None:
    record(store, time, seconds=300)
    store.close()
    DAMAGES[damage](store.path)
    for _ in range(2):  # and the next start finds no fault
        store = make_store(folder, time)
        store.tick()
        assert store.status.state == "set_aside"
        assert "set aside" in (store.status.reason or "")
        store.close()
    store = make_store(folder, time)
    record(store, time, OTHER)
    assert OTHER in {kept.id for kept in store.sessions()}
    assert len(list(folder.glob("records.damaged-*.db"))) == 1 or damage == "link"
    store.erase(ID)
    assert all(ID.encode() not in path.read_bytes() for path in folder.glob("records.damaged-*"))
    assert [kept.id for kept in store.sessions()] == [OTHER], "salvage brings back nothing erased"
    store.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\xa5" * 50_000])
def test_a_damaged_log_loses_only_its_own_rows(
    store: Store, folder: Path, time: Time, content: bytes
) -> None:
    record(store, time)
    store.close()
    (folder / "records.db-wal").write_bytes(content)
    (folder / "records.db-shm").write_bytes(content)
    with closing(make_store(folder, time)) as again:
        assert [kept.id for kept in again.sessions()] == [ID]


def test_an_empty_file_is_replaced(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    store.close()
    store.path.write_bytes(b"")
    with closing(make_store(folder, time)) as again:
        record(again, time, OTHER)
        assert [kept.id for kept in again.sessions()] == [OTHER]


def test_damage_while_open_stops_the_recording_and_the_next_one_works(
    store: Store, folder: Path, time: Time
) -> None:
    record(store, time, seconds=300, end=False)
    connection = store._file.open()
    assert connection is not None
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    connection.execute("PRAGMA shrink_memory")
    _overwrite(store.path, 0, store.path.stat().st_size)
    stopped: list[str] = []
    store.on_stopped = lambda id, reason: stopped.append(reason)
    for number in range(300, 320):
        store.add(ID, [second(number)])
    assert len(stopped) == 1
    assert "damaged" in stopped[0]
    assert store.status.state == "set_aside"
    record(store, time, OTHER)
    assert OTHER in {kept.id for kept in store.sessions()}


def test_a_state_folder_that_cannot_be_created_is_reported(tmp_path: Path, time: Time) -> None:
    (tmp_path / "state").write_text("a file")
    store = make_store(tmp_path / "state" / "deeper", time)
    with pytest.raises(StoreError):
        store.begin(session_info())
    assert store.status.state == "failed"
    store.tick()
    store.close()


# --- migrations ---


def _second_migration(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN place TEXT NOT NULL DEFAULT ''")


def _failing(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE half (x)")
    connection.execute("INSERT INTO nowhere VALUES (1)")


SECOND = Migration(2, "a place", _second_migration)


def columns(path: Path, table: str) -> set[str]:
    with closing(sqlite3.connect(path)) as connection:
        return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def test_a_migration_is_recorded_and_a_copy_is_made_before(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    with closing(reopened(store, folder, time, migrations=(*MIGRATIONS, SECOND))) as again:
        assert again.status.state == "ok"
        assert [kept.id for kept in again.sessions()] == [ID]
        with closing(sqlite3.connect(again.path)) as connection:
            done = connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()
        assert done == [(1, "first tables"), (2, "a place")]
        [copied] = folder.glob("records.before-2-*.db")
        assert "place" not in columns(copied, "sessions")
        assert stat.S_IMODE(copied.stat().st_mode) == 0o600
        again.erase(ID)
        with closing(sqlite3.connect(copied)) as connection:
            assert not connection.execute("SELECT * FROM sessions").fetchall()


def test_a_failed_migration_leaves_the_old_file_in_use(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    broken = (*MIGRATIONS, SECOND, Migration(3, "broken", _failing))
    again = reopened(store, folder, time, migrations=broken)
    assert again.status.state == "read_only"
    assert "the old file stays in use" in (again.status.reason or "")
    assert [kept.id for kept in again.sessions()] == [ID]
    with pytest.raises(StoreError, match="old file"):
        again.begin(session_info(OTHER))
    assert "place" not in columns(again.path, "sessions")
    again.erase(ID)
    assert again.sessions() == []
    back = reopened(again, folder, time)
    assert back.status.state == "ok"
    record(back, time, OTHER)
    back.close()


def test_a_newer_file_is_read_only(store: Store, folder: Path, time: Time) -> None:
    record(store, time)
    newer = reopened(store, folder, time, migrations=(*MIGRATIONS, SECOND))
    older = reopened(newer, folder, time)
    assert older.status.state == "read_only"
    assert "newer version" in (older.status.reason or "")
    assert [kept.id for kept in older.sessions()] == [ID]
    older.close()


def test_storage_limits_follow_the_settings() -> None:
    assert StorageLimits(keep_days=30).keep_s == 30 * DAY_S
    assert replace(StorageLimits(), min_free_mb=1).min_free_mb == 1
