"""Damaged records are found and set aside, never with a traceback; other faults are not taken for damage.

Runs 12 random damages; `make damage` runs 300.
"""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import StateConflict, StoreError
from appliance.records import Store
from appliance.records.export import KINDS, export_session
from appliance.records.export.tables import deletion_text, format_local, summary_json
from appliance.records.store import database
from appliance.records.store.downgrade import downgrade, try_migration
from tests.fakes.damage import IDS, copied, damage, recorded
from tests.fakes.records import DAY_S, ID, OTHER, Time, make_store, record, second, session_info

DAMAGES = int(os.environ.get("DAMAGES", "12"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sound") / "state")


@pytest.fixture
def path(sound: Path, tmp_path: Path) -> Path:
    return copied(sound, tmp_path / "state")


def execute(path: Path, *statements: str) -> None:
    """Change a file without the store."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def overwrite(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert old in content and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def use_all(store: Store) -> None:
    """Everything that a page or a command does with records; it may raise only `StoreError`."""
    store.tick()
    try:
        for kept in store.sessions():
            summary_json(kept), deletion_text(kept), format_local(kept.recorded), format_local(kept.ended)
            session = store.session(kept.id)
            for kind in KINDS if session else ():
                assert session is not None
                assert b"".join(export_session(session, kind))
        store.find_link("x")
    except StoreError as error:
        assert "\n" not in str(error)


# --- faults that are not damage ---


def constraint(store: Store) -> None:
    connection = store._file.open()
    with store._file.writing(connection) as writer:
        writer.execute("INSERT INTO markers (session, at, text) VALUES ('absent', 1, 'x')")


def binding(store: Store) -> None:
    with store._file.writing(store._file.open()) as writer:
        writer.execute("SELECT ?", ())


def wrong_type(store: Store) -> None:
    with store._file.writing(store._file.open()) as writer:
        writer.execute("SELECT ?", (object(),))


def too_large(store: Store) -> None:
    with store._file.writing(store._file.open()) as writer:
        writer.execute("SELECT ?", (2**70,))


def no_text(store: Store) -> None:
    store.begin(session_info("c" * 12, label="\ud800"))


@pytest.mark.parametrize("mistake", [constraint, binding, wrong_type, too_large, no_text])
def test_an_invalid_write_sets_nothing_aside(path: Path, mistake: Callable[[Store], None]) -> None:
    with closing(make_store(path.parent)) as store:
        store.tick()
        with pytest.raises(StoreError, match="cannot be written"):
            mistake(store)
        assert len(store.sessions()) == len(IDS)
    assert not list(path.parent.glob("records.damaged-*"))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (sqlite3.IntegrityError("NOT NULL constraint failed: seconds.x"), False),
        (sqlite3.ProgrammingError("Incorrect number of bindings supplied"), False),
        (sqlite3.InterfaceError("bad parameter or other API misuse"), False),
        (sqlite3.DataError("string or blob too big"), False),
        (sqlite3.OperationalError("database is locked"), False),
        (sqlite3.OperationalError("database or disk is full"), False),
        (sqlite3.InternalError("x"), False),
        (OverflowError("x"), False),
        (sqlite3.OperationalError("no such table: seconds"), True),
        (sqlite3.OperationalError("malformed database schema (x)"), True),
        (sqlite3.DatabaseError("file is not a database"), True),
        (sqlite3.DatabaseError("database disk image is malformed"), True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), True),
    ],
)
def test_damage_is_recognised_without_an_error_code(error: BaseException, expected: bool) -> None:
    """As on Python 3.10, whose errors have no code."""
    assert database.is_damage(error) is expected


def test_a_session_erased_by_another_process_accepts_no_marker(path: Path) -> None:
    time = Time()
    with closing(make_store(path.parent, time)) as store:
        record(store, time, ID, end=False)
        execute(
            path, f"DELETE FROM seconds WHERE session = '{ID}'", f"DELETE FROM sessions WHERE id = '{ID}'"
        )
        with pytest.raises(StoreError, match="erased by another process"):
            store.mark(ID, "question 3")
        assert len(store.sessions()) == len(IDS)
    assert not list(path.parent.glob("records.damaged-*"))


def test_a_session_that_another_process_records_is_not_erased(path: Path) -> None:
    time = Time()
    with closing(make_store(path.parent, time)) as store:
        record(store, time, ID, end=False)
        with closing(make_store(path.parent, time)) as command:
            with pytest.raises(StateConflict, match="being recorded; end the recording"):
                command.erase(ID)
            command.erase(IDS[0])
        store.add(ID, [second(9)])
        store.mark(ID, "question 3")
        assert store.began(ID) is not None
        store.end(ID)
        assert {kept.id for kept in store.sessions()} == {ID, *IDS[1:]}
        with closing(make_store(path.parent, time)) as command:
            command.erase(ID)
        assert ID not in {kept.id for kept in store.sessions()}


# --- damage ---


def test_a_damaged_index_is_detected(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'markers_session'"
        start = 4096 * (connection.execute(query).fetchone()[0] - 1)
    content = path.read_bytes()
    page = content[start : start + 4096].replace(IDS[0].encode(), b"0" * 12)
    path.write_bytes(content[:start] + page + content[start + 4096 :])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
    with closing(make_store(path.parent)) as store:
        store.tick()
        assert store.status.state == "set_aside"


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE sessions SET began_lived = 'x' WHERE rowid = 3",),
        ("UPDATE sessions SET began_lived = 1e300 WHERE rowid = 3",),
        ("UPDATE sessions SET ended = 'x' WHERE rowid = 3",),
        ("DELETE FROM sessions WHERE rowid = 3",),  # its seconds remain: retention would never reach them
        ("UPDATE migrations SET number = 77",),
        ("UPDATE migrations SET number = 0",),
        ("DELETE FROM migrations",),
    ],
)
def test_rows_that_retention_would_never_reach_are_damage(path: Path, statements: tuple[str, ...]) -> None:
    execute(path, *statements)
    with closing(make_store(path.parent)) as store:
        store.tick()
        assert store.status.state == "set_aside"
        record(store, Time(), ID)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CREATE TABLE seconds", b"CREATE TABLE \xff\xfe\xfdonds"),
        (b"notice_version", b"notice\xffversion"),
        (b"REFERENCES sessions", b"REFERENCES \xff\xffssions"),
    ],
)
def test_a_schema_that_is_not_text_is_damage(path: Path, old: bytes, new: bytes) -> None:
    overwrite(path, old, new)
    with closing(make_store(path.parent)) as store:
        store.tick()
        assert store.status.state == "set_aside"
        record(store, Time(), ID)
        assert ID in {kept.id for kept in store.sessions()}


@pytest.mark.parametrize("place", [18, 19])
def test_a_read_only_header_is_damage(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] = 9
    path.write_bytes(content)
    with closing(make_store(path.parent)) as store:
        store.tick()
        assert store.status.state == "set_aside"


def test_session_text_that_is_not_utf_8_is_readable(path: Path) -> None:
    overwrite(path, b"label of " + IDS[0].encode(), b"l\xffbel of " + IDS[0].encode())
    with closing(make_store(path.parent)) as store:
        use_all(store)
        assert "l\ufffdbel of" in {kept.id: kept.label for kept in store.sessions()}[IDS[0]]


ODD = ("'x'", "x'ff00'", "1e300", "-1e300", "9e999", "9223372036854775807", "-5", "''")
"""Values that damage may put anywhere in a file while every check still passes."""


@pytest.mark.slow
@pytest.mark.parametrize("value", ODD)
def test_a_value_of_the_wrong_type_causes_no_traceback(path: Path, value: str) -> None:
    from appliance.records.store.rows import COLUMNS

    with closing(make_store(path.parent)) as store:
        store.tick()
        for name in ("started", "recorded", "ended", "people", "clock_set", "label", "note", "ending"):
            execute(path, f"UPDATE sessions SET {name} = {value} WHERE id = '{IDS[0]}'")
        for number, name in enumerate(COLUMNS[2:]):
            where = f"WHERE session = '{IDS[0]}' AND person = 1 AND second = {number}"
            execute(path, f"UPDATE seconds SET {name} = {value} {where}")
        for name in ("person", "second"):
            where = f"WHERE session = '{IDS[0]}' AND person = 2 AND second = {len(name)}"
            execute(path, f"UPDATE seconds SET {name} = {value} {where}")
        execute(path, f"UPDATE markers SET at = {value}, text = {value} WHERE session = '{IDS[0]}'")
        use_all(store)
        session = store.session(IDS[0])
        assert session is not None and len(session.seconds) >= 250
        json.loads(
            b"".join(export_session(session, "json")), parse_constant=pytest.fail
        )  # no NaN, no Infinity
        assert store.session(IDS[1]) is not None


def test_one_damaged_age_makes_no_other_session_too_old(path: Path) -> None:
    execute(path, f"UPDATE sessions SET ended_lived = ended_lived + {900 * DAY_S} WHERE id = '{IDS[0]}'")
    execute(path, f"UPDATE sessions SET began_lived = began_lived + {900 * DAY_S} WHERE id = '{IDS[1]}'")
    time = Time()
    time.passes(3600)
    with closing(make_store(path.parent, time)) as store:
        store.tick()
        assert len(store.sessions()) == len(IDS)
        for _ in range(8 * 24):
            time.passes(3600)
            store.tick()
        assert store.sessions() == []


@pytest.mark.parametrize("lived", ["1e300", "Infinity", "NaN", str(10**400), '"x"'])
def test_a_damaged_count_of_ages_erases_nothing(path: Path, lived: str) -> None:
    ages = path.with_name("records.age.json")
    table = json.loads(ages.read_text())
    ages.write_text(json.dumps({**table, "lived": "HERE"}).replace('"HERE"', lived))
    with closing(make_store(path.parent)) as store:
        store.tick()
        assert len(store.sessions()) == len(IDS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["records.age.json", "erasures.jsonl", "backups.jsonl"])
@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 100_000, b"{}\n[]\n1\n", b'{"made": 1e999, "path": 3}']
)
def test_damaged_files_next_to_the_records_cause_no_traceback(path: Path, name: str, content: bytes) -> None:
    path.with_name(name).write_bytes(content)
    with closing(make_store(path.parent)) as store:
        use_all(store)
        store.erase(IDS[0])
        assert len(store.sessions()) == len(IDS) - 1


def test_damage_found_by_a_reader_is_checked(path: Path) -> None:
    with closing(make_store(path.parent)) as store:
        store.tick()
        content = path.read_bytes()
        path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))
        for _ in range(3):
            use_all(store)
        assert store.status.state == "set_aside"
        record(store, Time(), ID)


@pytest.mark.slow
@pytest.mark.timeout(120 + DAMAGES)
def test_any_damage_is_survived(sound: Path, tmp_path: Path) -> None:
    """What an owner, a command and an update do with each damaged file."""
    chance = random.Random(14)
    for number in range(DAMAGES):
        path = copied(sound, tmp_path / str(number))
        words = damage(path, chance)
        try:
            for name, work in (("downgrade", downgrade), ("try", try_migration)):
                try:
                    work(copied(path, tmp_path / f"{number}-{name}").parent)
                except StoreError as error:
                    assert "\n" not in str(error)
            time = Time()
            with closing(make_store(path.parent, time)) as store:
                use_all(store)
                with closing(make_store(path.parent, time)) as command:
                    use_all(command)
                assert store.status.state in ("ok", "set_aside", "read_only"), store.status
                if store.status.state != "read_only":
                    record(store, time, OTHER)
                    session = store.session(OTHER)
                    assert session is not None and len(session.seconds) == 3
                store.erase(IDS[0])
                assert IDS[0] not in {kept.id for kept in store.sessions()}
        except Exception as error:
            raise AssertionError(f"damage {number}: {words}") from error


# --- a state directory that is removed or replaced ---


@pytest.mark.parametrize("kind", ["removed", "replaced", "file"])
def test_a_missing_state_directory_is_reported_and_the_next_recording_is_kept(path: Path, kind: str) -> None:
    time, events, stopped = Time(), [], []
    folder = path.parent
    with closing(
        make_store(folder, time, on_event=lambda **details: events.append(details["what"]))
    ) as store:
        store.on_stopped = lambda id, reason: stopped.append(reason)
        record(store, time, ID, end=False)
        if kind == "file":
            path.unlink()
        else:
            folder.rename(folder.with_name("away"))
        if kind == "replaced":
            copied(folder.with_name("away") / "records.db", folder)
        store.add(ID, [second(9)])
        assert len(stopped) == 1 and "removed or replaced" in stopped[0]
        assert store.status.state == "failed" and "removed or replaced" in str(store.status.reason)
        assert events.count("replaced") == 1
        record(store, time, OTHER)
        assert store.status.state == "ok"
        with closing(sqlite3.connect(path)) as connection:
            rows = connection.execute("SELECT count(*) FROM seconds WHERE session = ?", (OTHER,)).fetchone()
        assert rows == (3,), "in the new file"
        assert (folder / "records.lock").exists()
        before = {kept.id for kept in store.sessions()}
        assert before == ({OTHER, ID, *IDS} if kind == "replaced" else {OTHER})
    with closing(make_store(folder, time)) as again:
        assert {kept.id for kept in again.sessions()} == before


def test_a_recording_after_the_state_directory_was_removed_is_kept(path: Path) -> None:
    time = Time()
    with closing(make_store(path.parent, time)) as store:
        store.tick()
        path.parent.rename(path.parent.with_name("away"))
        record(store, time, ID)
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM seconds").fetchone() == (3,)


def test_the_count_of_ages_continues_in_another_state_directory(path: Path) -> None:
    time = Time()
    with closing(make_store(path.parent, time)) as store:
        store.tick()
        time.passes(30 * DAY_S)
        record(store, time, ID)
        before = store._ages.now()
        path.parent.rename(path.parent.with_name("away"))
        record(store, time, OTHER)
        assert store._ages.now() >= before >= 30 * DAY_S
