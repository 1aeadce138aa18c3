"""Backups: encrypted, refused if damaged or with a wrong passphrase, and nothing erased comes back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from appliance.errors import ConfigError, StoreError
from appliance.records import EXPORTS, RestoreResult, Store, backup
from appliance.records.store import queries, transfer
from appliance.records.store.writer_lock import WriterLock
from tests.fakes.records import DAY_S, ID, NOW, OTHER, Time, make_store, record, second, session_info

WORDS = "correct horse battery"


def _content(store: Store, id: str) -> tuple[object, ...]:
    session = store.session(id)
    assert session is not None
    return session.summary, list(session.seconds), session.markers


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[Store]:
    made = make_store(tmp_path / "state", time)
    record(made, time, ID)
    made.begin(session_info(OTHER, label="a label of mine"))
    made.add(OTHER, [second(0), second(1, person=2)])
    made.mark(OTHER, "question 2")
    made.end(OTHER)
    yield made
    made.close()


@pytest.fixture
def file(store: Store, tmp_path: Path) -> Path:
    path = tmp_path / "all.backup"
    assert store.backup(path, WORDS) == 2
    return path


def test_a_backup_is_restored_on_another_device(store: Store, file: Path, tmp_path: Path, time: Time) -> None:
    before = [_content(store, id) for id in (ID, OTHER)]
    with closing(make_store(tmp_path / "other", time)) as other:
        assert other.restore(file, WORDS) == RestoreResult(taken=2)
        assert [_content(other, id) for id in (ID, OTHER)] == before


def test_a_backup_is_restored_while_an_appliance_without_records_runs(
    file: Path, tmp_path: Path, time: Time
) -> None:
    exports = tmp_path / "other" / EXPORTS
    exports.mkdir(parents=True)
    file.rename(exports / file.name)
    with closing(make_store(tmp_path / "other", time)) as appliance:
        appliance.tick()  # the backup itself is something that it maintains
        with closing(make_store(tmp_path / "other", time)) as command:
            assert command.restore(exports / file.name, WORDS) == RestoreResult(taken=2)
        assert len(appliance.sessions()) == 2
        time.passes(61)
        appliance.tick()
        assert record(appliance, time, "dddddddddddd") is None
        assert len(appliance.sessions()) == 3


def test_restore_waits_for_a_process_that_briefly_holds_the_lock(
    file: Path, tmp_path: Path, time: Time
) -> None:
    (tmp_path / "other").mkdir()
    appliance = WriterLock(tmp_path / "other" / "records.lock")
    assert appliance.acquire()
    soon = threading.Timer(0.5, appliance.release)
    soon.start()
    with closing(make_store(tmp_path / "other", time)) as command:
        assert command.restore(file, WORDS) == RestoreResult(taken=2)
    soon.join()


def test_it_cannot_be_read_without_the_passphrase(file: Path) -> None:
    content = file.read_bytes()
    assert b"a label of mine" not in content
    assert b"question" not in content
    assert ID.encode() in content, "the ids are plain text, so that erasing finds them"
    assert file.stat().st_mode & 0o077 == 0


def test_two_backups_of_the_same_records_have_nothing_in_common(
    store: Store, file: Path, tmp_path: Path
) -> None:
    store.backup(tmp_path / "again", WORDS)
    assert file.read_bytes()[-100:] != (tmp_path / "again").read_bytes()[-100:]


@pytest.mark.parametrize("words", ["", "correct horse", WORDS + " ", WORDS.upper()])
def test_a_wrong_passphrase_loses_nothing(store: Store, file: Path, words: str) -> None:
    with pytest.raises(ConfigError, match="passphrase is wrong, or the file is damaged"):
        store.restore(file, words)
    assert len(store.sessions()) == 2


def test_a_short_passphrase_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 8"):
        store.backup(tmp_path / "x", "1234567")
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_every_damaged_byte_is_detected(store: Store, file: Path) -> None:
    sound = file.read_bytes()
    places = {*range(0, 400, 7), *range(400, len(sound), 97), len(sound) - 1}
    for place in (place for place in places if place < len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(ConfigError):
            store.restore(file, WORDS)
    assert len(store.sessions()) == 2


@pytest.mark.parametrize(
    "content", [b"", b"x", backup.MAGIC, backup.MAGIC + b"{}\n", backup.MAGIC + b"[" * 9000 + b"\n"]
)
def test_a_file_that_is_not_a_backup_is_refused(store: Store, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="not a backup"):
        store.restore(file, WORDS)


@pytest.mark.parametrize("length", [10, 100, 300, -20, -1])
def test_a_truncated_file_is_refused(store: Store, file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(ConfigError):
        store.restore(file, WORDS)


def test_existing_sessions_stay_unchanged(store: Store, file: Path, time: Time) -> None:
    third = "cccccccccccc"
    record(store, time, third)
    assert store.restore(file, WORDS) == RestoreResult(here=2)
    assert len(store.sessions()) == 3


def test_erased_sessions_stay_erased(store: Store, file: Path, tmp_path: Path) -> None:
    away = tmp_path / "stick"
    away.mkdir()
    file.rename(away / "all.backup")
    store.erase(ID)
    assert (away / "all.backup").exists(), "it is out of reach"
    assert store.restore(away / "all.backup", WORDS) == RestoreResult(here=1, erased=1)
    assert store.session(ID) is None


def test_sessions_that_are_too_old_are_not_restored(
    store: Store, file: Path, tmp_path: Path, time: Time
) -> None:
    time.passes(8 * DAY_S)
    with closing(make_store(tmp_path / "other", time)) as other:
        assert other.restore(file, WORDS) == RestoreResult(old=2)
        assert other.sessions() == []


def test_ages_continue_on_another_device(file: Path, tmp_path: Path, time: Time) -> None:
    time.passes(5 * DAY_S)
    elsewhere = Time(wall=time.wall, up=7.0)
    with closing(make_store(tmp_path / "other", elsewhere)) as other:
        other.restore(file, WORDS)
        expires = other.sessions()[0].expires
        assert expires == pytest.approx(NOW + 7 * DAY_S, abs=10)


def test_a_backup_from_a_device_without_a_set_clock_is_restored(tmp_path: Path) -> None:
    never_set = Time(wall=1000.0)
    with closing(make_store(tmp_path / "state", never_set)) as store:
        record(store, never_set)
        store.backup(tmp_path / "b", WORDS)
    with closing(make_store(tmp_path / "other", Time())) as other:
        assert other.restore(tmp_path / "b", WORDS) == RestoreResult(taken=1)


def test_a_session_that_was_being_recorded_is_closed(store: Store, tmp_path: Path, time: Time) -> None:
    third = "cccccccccccc"
    record(store, time, third, seconds=5, end=False)
    store.backup(tmp_path / "midst", WORDS)
    with closing(make_store(tmp_path / "other", time)) as other:
        other.restore(tmp_path / "midst", WORDS)
        session = other.session(third)
        assert session is not None
        assert (session.summary.ending, session.summary.seconds) == ("backup", 5)
        assert session.summary.ended == session.summary.recorded + 5
    assert store.began(third) is not None


def test_a_backup_that_cannot_be_written_leaves_none(store: Store, tmp_path: Path) -> None:
    with pytest.raises(OSError):
        store.backup(tmp_path / "nowhere" / "x", WORDS)


def test_without_records_there_is_nothing_to_back_up(tmp_path: Path) -> None:
    with closing(make_store(tmp_path / "empty")) as empty, pytest.raises(StoreError, match="no records"):
        empty.backup(tmp_path / "x", WORDS)


def _sealed(path: Path, rows: list[tuple[str, dict[str, object]]]) -> Path:
    about = {"ids": [ID], "made": NOW, "lived": 0.0}
    path.write_bytes(backup.seal(rows, about, WORDS))
    return path


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("seconds", {"x": None}, "x = None"),
        ("seconds", {"x": ...}, "has no x"),
        ("seconds", {"second": "three"}, "second = 'three'"),
        ("seconds", {"session": "f" * 12}, "belongs to no session"),
        ("seconds", {"angry": 10**400}, "angry = 1000"),
        ("sessions", {"id": "../../etc/passwd"}, "../../etc/passwd"),
        ("sessions", {"began_lived": "x"}, "began_lived = 'x'"),
        ("sessions", {"label": "\ud800"}, "label = "),
        ("sessions", {"recorded": 1e300}, r"recorded = 1e\+300"),
        ("markers", {"at": []}, r"at = \[\]"),
        ("elsewhere", {}, "unknown table 'elsewhere'"),
    ],
)
def test_a_backup_with_an_invalid_row_changes_nothing(
    store: Store, tmp_path: Path, table: str, change: dict[str, object], words: str
) -> None:
    rows: list[tuple[str, dict[str, object]]] = []
    with queries.reading(store.path) as connection:
        for name, row in transfer.all_rows(connection):
            new = {**row, "id" if name == "sessions" else "session": "c" * 12} if name != "markers" else row
            rows.append((name, new))
    rows = [row for row in rows if row[0] != "markers"][:1] + [
        (name, row) for name, row in rows if name == "seconds"
    ][:1]
    marker: dict[str, object] = {"number": 1, "session": "c" * 12, "at": 1.0, "text": "x"}
    rows.append(("markers", marker))
    if table == "elsewhere":
        rows.append((table, {"session": "c" * 12}))
    for name, row in rows:
        if name == table:
            row.update(change)
            for column in [column for column, value in row.items() if value is ...]:
                del row[column]
    before = store.sessions()
    with pytest.raises(ConfigError, match=words):
        store.restore(_sealed(tmp_path / "odd", rows), WORDS)
    assert store.sessions() == before and store.status.state == "ok"
    assert not list(store.path.parent.glob("records.damaged-*"))
    assert not list(store.path.parent.glob("restoring-*"))


def test_a_backup_with_a_row_twice_changes_nothing(store: Store, tmp_path: Path) -> None:
    with queries.reading(store.path) as connection:
        rows = [*transfer.all_rows(connection)]
    elsewhere = tmp_path / "other"
    with closing(make_store(elsewhere)) as other:
        record(other, Time(), "d" * 12)
        with pytest.raises(ConfigError, match="rows are inconsistent"):
            other.restore(_sealed(tmp_path / "odd", [*rows, rows[-1], rows[2]]), WORDS)
        assert [kept.id for kept in other.sessions()] == ["d" * 12]


@pytest.mark.parametrize("power", range(12, 20))
def test_only_plausible_scrypt_costs_are_accepted(power: int) -> None:
    sealed = backup.seal([], {"ids": [], "made": 1.0, "lived": 1.0}, "a long passphrase")
    head, packed = sealed[len(backup.MAGIC) :].split(b"\n", 1)
    header = {**json.loads(head), "cost": 2**power}
    found = backup.parse_header(backup.MAGIC + json.dumps(header).encode() + b"\n" + packed)
    assert found == (header if 14 <= power <= 17 else None)
