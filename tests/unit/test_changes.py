"""Settings that changed since the last start are in the audit log, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.audit import AuditLog
from appliance.changes import NAME, note_changes

FIRST = {"lawful": {"region": "EU", "purpose": "practice"}, "web": {"allowed_hosts": ("a.example",)}}


def told(folder: Path) -> list[tuple[str, str, str]]:
    return [(each["event"], each["who"], each["changed"]) for each in AuditLog(folder).entries()]


def test_only_what_changed_is_told_and_once(tmp_path: Path) -> None:
    log = AuditLog(tmp_path)
    for _ in range(2):
        note_changes(FIRST, tmp_path, log)
        assert told(tmp_path) == []
    other = {
        "lawful": {"region": "US", "purpose": "hiring"},
        "web": FIRST["web"],
        "storage": {"keep_days": 30},
    }
    for _ in range(2):
        note_changes(other, tmp_path, log)
    assert told(tmp_path) == [
        ("settings", "configuration", "lawful.purpose, lawful.region, storage.keep_days")
    ]
    assert (tmp_path / NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\xff"])
def test_a_file_that_cannot_be_read_begins_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    note_changes(FIRST, tmp_path, AuditLog(tmp_path))
    assert told(tmp_path) == []
    note_changes({**FIRST, "web": {"allowed_hosts": ()}}, tmp_path, AuditLog(tmp_path))
    assert told(tmp_path) == [("settings", "configuration", "web.allowed_hosts")]


def test_a_folder_that_cannot_be_made_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    note_changes(FIRST, tmp_path / "file" / "state", AuditLog(tmp_path / "file" / "state"))
    assert "missing in the audit log" in caplog.text
