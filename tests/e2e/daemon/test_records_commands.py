"""`sessions`, `backup`, `restore` and `audit` as a user runs them."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from appliance.audit import AuditLog
from appliance.commands.records import PASSPHRASE
from appliance.records import Store
from tests.e2e.daemon.driver import called
from tests.fakes.records import ID, OTHER, second, session_info

WORDS = "correct horse battery"
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with two current sessions: the commands use the real clocks."""
    store = Store(tmp_path / "state")
    for id in (ID, OTHER):
        store.begin(session_info(id, label=f"label of {id}"))
        store.add(id, [second(0), second(1)])
        store.mark(id, "question 2")
        store.end(id)
    store.close()
    return tmp_path / "state"


@pytest.fixture
def run(state: Path) -> Run:
    def run_it(*words: str | Path, passphrase: str | None = None) -> CompletedProcess[str]:
        environment = {} if passphrase is None else {PASSPHRASE: passphrase}
        given = state.parent / "given.toml"
        settings = ("--config", given) if given.exists() and words[0] not in ("access", "token") else ()
        return called(*words, *settings, "--data-dir", state, environment=environment)

    return run_it


def set_by_owner(folder: Path, text: str) -> None:
    """Add an owner's drop-in, which every command reads."""
    (folder / "given.toml").touch()
    (folder / "config.d").mkdir()
    (folder / "config.d" / "owner.toml").write_text(text)


def complains(done: CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr


def test_list_show_export_erase(run: Run, state: Path, tmp_path: Path) -> None:
    listed = run("sessions", "list")
    assert listed.returncode == 0, listed
    assert sorted(line.split()[0] for line in listed.stdout.splitlines()) == [ID, OTHER]
    shown = run("sessions", "show", ID).stdout
    for words in (
        f"label of {ID}",
        "notice version 1",
        "fearful 0.12, happy 0.25",
        "question 2",
        "18 of 20 frames",
    ):
        assert words in shown
    assert json.loads(run("sessions", "export", ID).stdout)["session"]["id"] == ID
    assert "person,second,angry" in run("sessions", "export", ID, "--csv").stdout
    assert run("sessions", "export", ID, "--pdf", "-o", tmp_path / "x.pdf").returncode == 0
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF-")
    assert run("sessions", "erase", ID).returncode == 0
    assert ID not in run("sessions", "list").stdout
    complains(run("sessions", "show", ID), 2, ID, "sessions list")
    events = [(entry["event"], entry["who"], entry["session"]) for entry in AuditLog(state).entries()]
    assert events == [("export", "shell", ID)] * 3 + [("erase", "shell", ID)]


DAY_S = 86400


def make_older(state: Path, id: str, days: int) -> None:
    """As if it had been recorded this many days earlier."""
    with contextlib.closing(sqlite3.connect(state / "records.db")) as connection, connection:
        connection.execute(
            "UPDATE sessions SET began_lived = began_lived - ? WHERE id = ?", (days * DAY_S, id)
        )


@pytest.mark.parametrize("fault", ["[web]\nprot = 80\n", '[lamps]\nbackend = "x"\n', ""])
def test_a_mistake_in_another_section_does_not_prevent_erasing(
    run: Run, state: Path, tmp_path: Path, fault: str
) -> None:
    """The retention timer runs such a command, while the same mistake keeps the appliance from starting."""
    set_by_owner(tmp_path, fault)
    assert run("check").returncode == (2 if fault else 0)
    make_older(state, ID, 8)
    for words in (("audit", "verify"), ("access", "list"), ("token", "list")):
        done = run(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
    done = run("sessions", "list")
    assert (done.returncode, done.stderr) == (0, "") and OTHER in done.stdout and ID not in done.stdout
    assert run("backup", tmp_path / "b", passphrase=WORDS).returncode == 0
    assert run("restore", tmp_path / "b", passphrase=WORDS).returncode == 0


@pytest.mark.parametrize(
    ("fault", "days"),
    [
        ("[storage\nkeep_days = 20\n", 30),
        ("[storage]\nkeep_days = 0\n", 30),
        ("[storage]\nkep_days = 20\n", 30),
        ("[storge]\nkeep_days = 20\n", 30),
        ("[session]\nkeep_days = 20\n", 30),
        ('[storage]\nkeep_days = 2\nmin_free_mb = "a"\n', 2),
        ("[storage]\nkeep_days = 2\n[webb]\nport = 1\n", 2),
    ],
)
def test_retention_with_invalid_settings(
    run: Run, state: Path, tmp_path: Path, fault: str, days: int
) -> None:
    """As the owner set it; nothing is erased too early if that is unknown."""
    set_by_owner(tmp_path, fault)
    make_older(state, ID, days - 1)
    make_older(state, OTHER, days + 1)
    done = run("sessions", "list")
    assert done.returncode == 0 and ID in done.stdout and OTHER not in done.stdout
    told = "until that is corrected, records are kept for 30 days" in done.stderr
    assert told == (days == 30) and done.stderr.count("\n") == int(told)
    (state / "b").write_text("")
    complains(
        run("restore", state / "b", passphrase=WORDS), 2, "correct it first" if told else "not a backup"
    )


def test_a_mistake_on_the_command_line(run: Run, state: Path) -> None:
    complains(run("sessions", "list", "--set", "keep_days"), 2, "--set")
    complains(run("sessions", "list", "--set", "storage.keep_days=0"), 2, "storage.keep_days")
    complains(run("sessions", "list", "--config", state / "none.toml"), 2, "none.toml")


def test_nothing_was_recorded(tmp_path: Path) -> None:
    done = called("sessions", "list", "--data-dir", tmp_path / "none")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    "words", [("sessions",), ("sessions", "show"), ("sessions", "rank", "x"), ("audit",), ("backup",)]
)
def test_an_incomplete_command(words: tuple[str, ...]) -> None:
    complains(called(*words), 2, "--help")


def test_backup_and_restore(run: Run, tmp_path: Path) -> None:
    made = run("backup", tmp_path / "b", passphrase=WORDS)
    assert made.returncode == 0, made
    (tmp_path / "words").write_text(f"{WORDS}\n")
    other = ("--data-dir", tmp_path / "other")
    restored = called("restore", tmp_path / "b", "--passphrase-file", tmp_path / "words", *other)
    assert restored.returncode == 0, restored
    assert "restored 2 sessions" in restored.stdout
    assert ID in called("sessions", "list", *other).stdout
    complains(run("backup", tmp_path / "b", passphrase=WORDS), 2, "another name")


def test_a_wrong_passphrase_and_a_damaged_file(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "b"
    run("backup", file, passphrase=WORDS)
    complains(run("restore", file, passphrase="something else"), 2, "passphrase is wrong")
    file.write_bytes(file.read_bytes()[:-10])
    complains(run("restore", file, passphrase=WORDS), 2, "damaged")
    file.write_bytes(b"x")
    complains(run("restore", file, passphrase=WORDS), 2, "not a backup")
    complains(run("restore", tmp_path / "nowhere", passphrase=WORDS), 2, "nowhere")
    assert len(run("sessions", "list").stdout.splitlines()) == 2


def test_a_passphrase_must_come_from_somewhere_and_be_long(run: Run, tmp_path: Path) -> None:
    complains(run("backup", tmp_path / "b"), 2, PASSPHRASE)
    complains(run("backup", tmp_path / "b", passphrase="short"), 2, "at least 8")
    complains(run("backup", tmp_path / "b", "--passphrase-file", tmp_path / "none"), 2, "--passphrase-file")
    complains(run("backup", tmp_path / "no" / "folder", passphrase=WORDS), 1, "there is no folder")
    assert not (tmp_path / "b").exists()


def test_damaged_records_are_reported_and_the_next_command_works(run: Run, state: Path) -> None:
    (state / "records.db").write_bytes(b"damaged" * 1000)
    done = run("sessions", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert "set aside" in done.stderr
    assert run("sessions", "list").stderr == ""


def test_audit_verify_and_show(run: Run, state: Path) -> None:
    run("sessions", "export", ID)
    run("sessions", "erase", ID)
    assert run("audit", "verify").stdout.startswith("2 lines, all intact; last hash: ")
    shown = run("audit", "show").stdout.splitlines()
    assert len(shown) == 2
    assert f"export  shell  format=json session={ID}" in shown[0]
    log = state / "audit.jsonl"
    log.write_text(log.read_text().replace("shell", "other", 1))
    complains(run("audit", "verify"), 1, "line 1 was changed")


def test_audit_without_a_log(tmp_path: Path) -> None:
    assert called("audit", "verify", "--data-dir", tmp_path).stdout == "0 lines, all intact\n"


def test_salvage(run: Run, state: Path, tmp_path: Path) -> None:
    content = bytearray((state / "records.db").read_bytes())
    content[:4096] = b"\xa5" * 4096
    (tmp_path / "damaged.db").write_bytes(content)
    run("sessions", "erase", OTHER)
    other = ("--data-dir", tmp_path / "other")
    done = called("sessions", "salvage", tmp_path / "damaged.db", *other)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("salvaged 4 rows of 2 sessions, 0 of these without date")
    assert f"label of {ID}" in called("sessions", "list", *other).stdout
    assert "skipped 1 erased" in run("sessions", "salvage", tmp_path / "damaged.db").stdout
    complains(run("sessions", "salvage", state / "records.db"), 2, "in use")
    complains(run("sessions", "salvage", tmp_path / "none"), 2, "none", "expected a damaged file")
    (tmp_path / "text").write_text("dear diary" * 1000)
    complains(run("sessions", "salvage", tmp_path / "text"), 1, "contains no readable session")


def test_a_session_being_recorded_is_not_erased_from_the_shell(run: Run, state: Path) -> None:
    store = Store(state)
    try:
        store.begin(session_info("c" * 12))
        store.add("c" * 12, [second(0)])
        complains(run("sessions", "erase", "c" * 12), 2, "being recorded; end the recording")
        store.mark("c" * 12, "question 2")
        assert len(store.sessions()) == 3
    finally:
        store.close()


def test_user_text_cannot_control_the_terminal(run: Run, state: Path, tmp_path: Path) -> None:
    steering = "a\x1b[31m\u009b2J\u202eb\nerased all"
    store = Store(state)
    store.begin(session_info("cccccccccccc", label=steering, note=steering))
    store.mark("cccccccccccc", steering)
    store.end("cccccccccccc")
    store.close()
    AuditLog(state).require("access", steering, what=steering)
    for words, count in (
        (("sessions", "list"), 1),
        (("sessions", "show", "cccccccccccc"), 3),
        (("audit", "show"), 2),
        (("sessions", "show", steering), 1),
        (("check", "--config", tmp_path / steering), 1),
        (("sessions", steering), 1),
    ):
        done = run(*words)
        said = done.stdout + done.stderr
        assert not set("\x1b\u009b\u202e") & set(said), words
        assert said.count("[31m") >= count and "\nerased all" not in said, words
    exported = run("sessions", "export", "cccccccccccc").stdout
    assert json.loads(exported)["session"]["label"] == steering


def test_a_backup_or_export_that_fails_leaves_nothing(state: Path, tmp_path: Path) -> None:
    """A limit on file sizes simulates a full disk."""
    marks = [(ID, 0.0, secrets.token_hex(100)) for _ in range(1500)]
    with contextlib.closing(sqlite3.connect(state / "records.db")) as connection, connection:
        connection.executemany("INSERT INTO markers (session, at, text) VALUES (?, ?, ?)", marks)
    place = tmp_path / "stick"
    place.mkdir()
    (place / "x.json").write_text("before")
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536)); "
        "from appliance.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for words in (("backup", str(place / "b")), ("sessions", "export", ID, "-o", str(place / "x.json"))):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--data-dir", str(state)],
            env={**os.environ, PASSPHRASE: WORDS},
            capture_output=True,
            text=True,
            check=False,
        )
        complains(done, 1, "File too large")
    assert [path.name for path in place.iterdir()] == ["x.json"]
    assert (place / "x.json").read_text() == "before"
