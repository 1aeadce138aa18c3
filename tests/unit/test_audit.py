"""The audit log: it appends, chains, and detects tampering."""

from __future__ import annotations

import json
import multiprocessing
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.audit import AuditLog
from appliance.errors import StoreError


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    made = AuditLog(tmp_path / "state")
    for number in range(5):
        made.require("start", "operator", session=f"s{number}")
    return made


def test_entries_come_back_in_order_and_verify(log: AuditLog) -> None:
    assert [entry["session"] for entry in log.entries()] == ["s0", "s1", "s2", "s3", "s4"]
    assert [entry["n"] for entry in log.entries()] == [1, 2, 3, 4, 5]
    verdict = log.verify()
    assert (verdict.lines, verdict.fault, verdict.torn) == (5, "", 0)


def test_a_missing_log_is_valid(tmp_path: Path) -> None:
    assert AuditLog(tmp_path).verify().fault == ""
    assert list(AuditLog(tmp_path).entries()) == []


def test_only_the_owner_may_read_the_log(log: AuditLog) -> None:
    assert log.path.stat().st_mode & 0o077 == 0


def test_an_unknown_event_is_refused(log: AuditLog) -> None:
    with pytest.raises(ValueError, match="expected one of agreement"):
        log.require("verdict", "operator")


def test_a_required_line_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    with pytest.raises(StoreError):
        AuditLog(tmp_path / "state").require("start", "operator")


def test_a_best_effort_line_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").write_text("not a folder")
    AuditLog(tmp_path / "state").record("login", "operator", name="operator")
    (line,) = caplog.records
    assert line.levelname == "ERROR"
    assert line.getMessage().startswith("login by operator is missing from the audit log: ")


def _changed(lines: list[str]) -> list[str]:
    return [*lines[:2], lines[2].replace("s2", "s9"), *lines[3:]]


def _rehashed(lines: list[str]) -> list[str]:
    import hashlib

    entry = json.loads(lines[2]) | {"session": "s9"}
    del entry["hash"]
    before = json.loads(lines[1])["hash"]
    text = json.dumps(entry, sort_keys=True) + "\n"
    entry["hash"] = hashlib.sha256((before + text).encode()).hexdigest()
    return [*lines[:2], json.dumps(entry, sort_keys=True), *lines[3:]]


@pytest.mark.parametrize(
    ("tamper", "fault"),
    [
        (_changed, "line 3 was changed"),
        (_rehashed, "line 4 was changed"),
        (lambda lines: [*lines[:2], *lines[3:]], "line 3 was changed, or lines before it are missing"),
        (lambda lines: lines[1:], "line 1 was changed, or lines before it are missing"),
        (lambda lines: lines[:-2], "2 lines are missing at the end"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "line 2 was changed"),
        (lambda lines: [*lines[:2], "rubbish", *lines[2:]], "a damaged line"),
        (lambda lines: [*lines, lines[-1]], "line 6 was changed"),
        (lambda lines: [], "5 lines are missing at the end"),
    ],
)
def test_tampering_is_detected(log: AuditLog, tamper: Callable[[list[str]], list[str]], fault: str) -> None:
    lines = log.path.read_text(encoding="utf-8").splitlines()
    log.path.write_text("".join(f"{line}\n" for line in tamper(lines)), encoding="utf-8")
    assert fault in log.verify().fault


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_truncation_is_detected_even_after_later_entries(log: AuditLog, cut: int) -> None:
    lines = log.path.read_text(encoding="utf-8").splitlines(keepends=True)
    log.path.write_text("".join(lines[:-cut]), encoding="utf-8")
    for _ in range(3):
        log.require("stop", "operator")
    assert f"{cut} lines before line {6 - cut} are missing" in log.verify().fault


def test_a_removed_log_is_detected_even_after_later_entries(log: AuditLog) -> None:
    log.path.unlink()
    log.require("stop", "operator")
    assert "5 lines before line 1 are missing" in log.verify().fault


def test_a_replaced_end_is_detected_even_after_later_entries(log: AuditLog) -> None:
    lines = log.path.read_text(encoding="utf-8").splitlines(keepends=True)
    log.path.write_text("".join(lines[:-1]), encoding="utf-8")
    head = log.path.with_name("audit.head")
    saved = head.read_bytes()
    log.require("stop", "stranger")
    (last,) = log.path.read_text(encoding="utf-8").splitlines(keepends=True)[-1:]
    assert json.loads(last)["lost"] == 1
    head.write_bytes(saved)
    log.require("stop", "operator")
    assert "missing" in log.verify().fault


@pytest.mark.parametrize("content", [b"", b"rubbish", b'{"n": 5, "hash": "y"}', b"{}"])
def test_an_overwritten_head_prevents_no_entry(log: AuditLog, content: bytes) -> None:
    log.path.with_name("audit.head").write_bytes(content)
    assert log.verify().fault
    log.require("stop", "operator")
    assert log.verify().fault


def test_verify_returns_the_hash_of_the_last_line(log: AuditLog) -> None:
    verdict = log.verify()
    assert verdict.last == json.loads(log.path.read_text().splitlines()[-1])["hash"]


def test_a_missing_file_or_head_is_detected(log: AuditLog) -> None:
    head = log.path.with_name("audit.head")
    saved = head.read_bytes()
    head.unlink()
    assert "audit.head is missing" in log.verify().fault
    head.write_bytes(saved)
    log.path.unlink()
    assert log.verify().fault == "the log is missing"


@pytest.mark.parametrize("kept", [1, 20, -1])
def test_a_line_torn_by_a_power_cut_is_counted_and_the_chain_continues(log: AuditLog, kept: int) -> None:
    *whole, last = log.path.read_bytes().splitlines(keepends=True)
    log.path.write_bytes(b"".join(whole) + last[:kept])
    head = log.path.with_name("audit.head")
    head.write_bytes(b'{"n": 4, "hash": "%s"}' % json.loads(whole[-1])["hash"].encode())
    log.require("stop", "operator")
    verdict = log.verify()
    # The line is complete except for its newline.
    assert (verdict.lines, verdict.fault, verdict.torn) == ((6, "", 0) if kept == -1 else (5, "", 1))


def test_threads_and_processes_share_one_chain(log: AuditLog) -> None:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_append_many, args=(log.path.parent,))
    threads = [threading.Thread(target=_append_many, args=(log.path.parent,)) for _ in range(3)]
    for each in (process, *threads):
        each.start()
    for each in (process, *threads):
        each.join(60)
    assert log.verify().lines == 5 + 4 * 20
    assert log.verify().fault == ""


def _append_many(folder: Path) -> None:
    mine = AuditLog(folder)
    for _ in range(20):
        mine.require("viewer", "viewer")


def test_an_unwritable_log_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="the audit log cannot be written"):
        AuditLog(tmp_path / "file").require("start", "operator")


def test_a_best_effort_event_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    AuditLog(tmp_path / "file").record("stop", "operator", session="s1")
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "stop by operator is missing from the audit log" in caplog.text


def test_a_best_effort_event_joins_the_chain(log: AuditLog) -> None:
    log.record("stop", "operator", session="s1")
    assert [entry["event"] for entry in log.entries()][-1] == "stop"
    assert log.verify().fault == ""


def test_a_full_log_rotates_and_its_chain_continues(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, most_bytes=2000)
    for number in range(100):
        log.require("start", "operator", session=f"s{number}")
    files = sorted(tmp_path.glob("audit*.jsonl"))
    assert [path.name for path in files] == ["audit.jsonl", "audit.old.jsonl"]
    assert sum(path.stat().st_size for path in files) < 2 * 2400
    numbers = [entry["n"] for entry in log.entries()]
    assert numbers == list(range(numbers[0], 101)) and 1 < numbers[0] < 95
    assert (log.verify().fault, log.verify().lines) == ("", 100)


def test_a_removed_rotated_file_is_detected(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, most_bytes=2000)
    for _ in range(100):
        log.require("start", "operator")
    old = tmp_path / "audit.old.jsonl"
    saved = old.read_bytes()
    old.unlink()
    assert "audit.old.jsonl is missing" in log.verify().fault
    old.write_bytes(saved.replace(b"operator", b"stranger", 1))
    assert "was changed" in log.verify().fault
    old.write_bytes(b"".join(saved.splitlines(keepends=True)[1:]))
    assert "was changed" in log.verify().fault
    old.write_bytes(saved)
    assert log.verify().fault == ""
    log.path.unlink()
    assert "missing at the end" in log.verify().fault


def test_processes_share_a_rotating_log(tmp_path: Path) -> None:
    AuditLog(tmp_path, most_bytes=1000).require("start", "operator")
    threads = [
        threading.Thread(target=lambda: [AuditLog(tmp_path, 1000).require("stop", "x") for _ in range(20)])
        for _ in range(4)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    verdict = AuditLog(tmp_path).verify()
    assert (verdict.fault, verdict.lines) == ("", 81)


def test_the_log_verifies_while_it_rotates(tmp_path: Path) -> None:
    """`audit verify` and `audit show` while the service writes: they miss no existing line."""
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_rotate_often, args=(tmp_path,))
    writer.start()
    faults, gaps, looks = set(), set(), 0
    try:
        while writer.is_alive():
            verdict = AuditLog(tmp_path).verify()
            faults.add(verdict.fault)
            numbers = [entry["n"] for entry in AuditLog(tmp_path).entries()]
            gaps.add(numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True)
            looks += 1
    finally:
        writer.join(60)
    assert (faults, gaps) == ({""}, {True}), looks
    assert AuditLog(tmp_path).verify().lines == 600 and looks > 20


def _rotate_often(folder: Path) -> None:
    log = AuditLog(folder, most_bytes=400)  # three lines per file
    for _ in range(600):
        log.require("stop", "operator")
