"""Changes since the last start are in the audit log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from appliance.audit import AuditLog
from appliance.configuration.changes import LAST_START_FILE, record_changes

FIRST: dict[str, dict[str, Any]] = {
    "lawful": {"region": "EU", "purpose": "practice"},
    "web": {"allowed_hosts": ("a.example",)},
}


def recorded(folder: Path) -> list[dict[str, Any]]:
    fixed = {"n", "time", "hash", "who"}
    return [
        {key: value for key, value in entry.items() if key not in fixed}
        for entry in AuditLog(folder).entries()
    ]


def start(folder: Path, settings: dict[str, dict[str, Any]], version: str = "1.0") -> None:
    record_changes(settings, folder, AuditLog(folder), version)


def test_only_changes_are_recorded_and_only_once(tmp_path: Path) -> None:
    for _ in range(2):
        start(tmp_path, FIRST)
        assert recorded(tmp_path) == []
    other = {
        "lawful": {"region": "US", "purpose": "hiring"},
        "web": FIRST["web"],
        "storage": {"keep_days": 30},
    }
    for _ in range(2):
        start(tmp_path, other)
    changed = "lawful.purpose, lawful.region, storage.keep_days"
    assert recorded(tmp_path) == [{"event": "settings", "changed": changed}]
    assert (tmp_path / LAST_START_FILE).stat().st_mode & 0o077 == 0


def test_updates_and_rollbacks_are_recorded(tmp_path: Path) -> None:
    start(tmp_path, FIRST)
    newer = {**FIRST, "fleet": {"name": ""}, "lawful": {"region": "EU", "purpose": "coaching"}}
    start(tmp_path, newer, "1.1")
    start(tmp_path, {**FIRST, "lawful": newer["lawful"]}, "1.0")
    assert recorded(tmp_path) == [
        {"event": "update", "before": "1.0", "now": "1.1"},
        {"event": "settings", "changed": "lawful.purpose"},
        {"event": "update", "before": "1.1", "now": "1.0"},
    ]


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b"{", b"\xff", b'{"settings": 1, "version": 2}', b'{"version": "1.0"}']
)
def test_an_unreadable_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LAST_START_FILE).write_bytes(content)
    start(tmp_path, FIRST)
    assert recorded(tmp_path) == []
    start(tmp_path, {**FIRST, "web": {"allowed_hosts": ()}})
    assert recorded(tmp_path) == [{"event": "settings", "changed": "web.allowed_hosts"}]


def test_a_folder_that_cannot_be_created_is_only_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    start(tmp_path / "file" / "state", FIRST)
    assert "missing in the audit log" in caplog.text
