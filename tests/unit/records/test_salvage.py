"""Salvage: most rows of a damaged file come back, and nothing else does.

Runs on 12 damaged files; `make damage` runs it on 300.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.damage import IDS, ROWS, copied, damage, recorded, remains
from tests.fakes.records import DAY_S, ID, OTHER, Time, make_store, record, second, session_info

ENOUGH = 0.9
DAMAGES = int(os.environ.get("DAMAGES", "12"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sound") / "state")


def test_everything_comes_back_from_an_intact_file(sound: Path, tmp_path: Path) -> None:
    with closing(make_store(sound.parent)) as source, closing(make_store(tmp_path / "new")) as store:
        done = store.salvage(copied(sound, tmp_path / "old"))
        assert (done.sessions, done.rows, done.nameless) == (len(IDS), ROWS, 0)
        for id in IDS:
            mine, theirs = store.session(id), source.session(id)
            assert mine is not None and theirs is not None
            assert replace(mine.summary, expires=theirs.summary.expires) == theirs.summary
            assert (list(mine.seconds), mine.markers) == (list(theirs.seconds), theirs.markers)
        assert store.salvage(tmp_path / "old" / "records.db").rows == 0, (
            "everything is already in the records"
        )


def test_rows_in_the_log_come_back(tmp_path: Path) -> None:
    time = Time()
    with closing(make_store(tmp_path / "state", time)) as store:
        record(store, time, ID, seconds=30, end=False)
        path = copied(store.path, tmp_path / "old")
    with closing(make_store(tmp_path / "new", time)) as other:
        assert other.salvage(path).rows == 30
        session = other.session(ID)
        assert (
            session is not None and session.summary.ending == "salvaged" and session.summary.ended is not None
        )


@pytest.mark.slow
@pytest.mark.timeout(120 + DAMAGES)
def test_most_rows_of_most_damaged_files_come_back(sound: Path, tmp_path: Path) -> None:
    chance, enough, results = random.Random(60), 0, []
    for number in range(DAMAGES):
        path = copied(sound, tmp_path / str(number))
        words = damage(path, chance, most_cut=0.15)
        left = path.stat().st_size / sound.stat().st_size
        with closing(make_store(tmp_path / f"{number}-new")) as store:
            store.salvage(path)
            share = sum(remains(store).values()) / ROWS
        assert share >= ENOUGH * left, words
        enough += share >= ENOUGH
        results.append(f"{share:.3f} {words[:60]}")
    assert enough >= 0.8 * DAMAGES, "\n".join(sorted(results))


def test_erased_and_old_sessions_do_not_come_back(sound: Path, tmp_path: Path) -> None:
    time = Time()
    with closing(make_store(tmp_path / "new", time)) as store:
        record(store, time, OTHER)
        store.erase(IDS[0])
        done = store.salvage(copied(sound, tmp_path / "old"))
        assert (done.erased, done.sessions) == (1, len(IDS) - 1)
        assert IDS[0] not in {kept.id for kept in store.sessions()}
        for _ in range(7 * 24 + 1):
            time.passes(3600)
            store.tick()
        assert store.sessions() == []
        assert store.salvage(tmp_path / "old" / "records.db").old == len(IDS)


def test_existing_rows_are_not_overwritten(sound: Path, tmp_path: Path) -> None:
    time = Time()
    with closing(make_store(tmp_path / "new", time)) as store:
        record(store, time, IDS[0], seconds=1)
        store.salvage(copied(sound, tmp_path / "old"))
        session = store.session(IDS[0])
        assert session is not None and session.summary.label == ""
        assert next(iter(session.seconds)) == second(0)
        assert len(session.seconds) == 300


def test_salvage_starts_automatically_when_a_file_is_set_aside(sound: Path, tmp_path: Path) -> None:
    path, time = copied(sound, tmp_path / "state"), Time()
    content = bytearray(path.read_bytes())
    content[8192:8300] = b"\xa5" * 108
    path.write_bytes(content)
    events: list[dict[str, Any]] = []
    with closing(make_store(path.parent, time, on_event=lambda **event: events.append(event))) as store:
        store.tick()
        assert store.status.state == "set_aside"
        record(store, time, ID)  # it does not wait
        for thread in threading.enumerate():
            if thread.name == "salvage":
                thread.join(60)
        assert "salvaged" in [event["what"] for event in events]
        assert sum(remains(store).values()) >= ENOUGH * ROWS
        assert ID in remains(store)
        time.passes(7 * DAY_S + 7200)
        for _ in range(3):
            store.tick()
            time.passes(3600)
        assert store.sessions() == [], "ages continue"


def _changed(path: Path, statement: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()
    return path


def test_an_end_in_the_future_makes_no_other_session_too_old(sound: Path, tmp_path: Path) -> None:
    damaged = copied(sound, tmp_path / "old")
    _changed(damaged, f"UPDATE sessions SET ended_lived = ended_lived + {300 * DAY_S} WHERE id = '{IDS[0]}'")
    time = Time()
    with closing(make_store(tmp_path / "new", time)) as store:
        record(store, time, OTHER, seconds=2)
        store.salvage(damaged)
    with closing(make_store(tmp_path / "new", time)) as store:
        store.tick()
        assert OTHER in {kept.id for kept in store.sessions()}


@pytest.mark.parametrize("column", ["ended", "ended_lived"])
def test_a_row_with_only_one_end_time_does_not_damage_the_records(
    sound: Path, tmp_path: Path, column: str
) -> None:
    damaged = _changed(
        copied(sound, tmp_path / "old"), f"UPDATE sessions SET {column} = NULL WHERE id = '{IDS[0]}'"
    )
    with closing(make_store(tmp_path / "new")) as store:
        store.salvage(damaged)
    with closing(make_store(tmp_path / "new")) as store:
        store.tick()
        assert store.status.state == "ok"
        assert {kept.id for kept in store.sessions()} == set(IDS)
        assert all(kept.ended is not None for kept in store.sessions())


def test_a_session_that_is_recording_again_continues(sound: Path, tmp_path: Path) -> None:
    damaged = _changed(
        copied(sound, tmp_path / "old"),
        f"UPDATE sessions SET ended = NULL, ended_lived = NULL WHERE id = '{IDS[0]}'",
    )
    time = Time()
    with closing(make_store(tmp_path / "new", time)) as store:
        record(store, time, OTHER, seconds=1)
        began: list[str] = []

        def press_record(seconds: float) -> None:
            if not began and store.session(IDS[0]) is not None:
                began.append(IDS[0])
                store.begin(session_info(IDS[0]))

        store._salvage_file(damaged, press_record)
        assert began == [IDS[0]]
        store.mark(IDS[0], "continues")
        store.add(IDS[0], [second(9000)])
        assert store.began(IDS[0]) is not None, "recording did not stop"
