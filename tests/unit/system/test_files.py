"""Small files are complete, private, and synced to the disk together with their names."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import StoreError
from appliance.records.store import database
from appliance.records.store.copies import EXPORTS, Copies
from appliance.records.store.erasure_log import ErasureLog
from appliance.system.files import atomic_write, write_private

ID = "0123456789ab"


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, list[str]]]]:
    """What was synced, in order: a file, or a folder with the names in it at that time."""
    seen: list[tuple[str, list[str]]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append((path.name, sorted(each.name for each in path.iterdir()) if folder else []))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    yield seen


def test_a_file_is_synced_and_then_its_name(tmp_path: Path, synced: list[tuple[str, list[str]]]) -> None:
    write_private(tmp_path / "key", b"secret")
    assert synced == [("key.part", []), (tmp_path.name, ["key"])]
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_an_erasure_is_logged_durably_before_rows_are_deleted(
    tmp_path: Path, synced: list[tuple[str, list[str]]]
) -> None:
    ErasureLog(tmp_path / "erasures.jsonl").begin({ID}, 1.0)
    assert synced == [("erasures.jsonl", []), (tmp_path.name, ["erasures.jsonl"])]


def test_a_removed_copy_does_not_reappear(tmp_path: Path, synced: list[tuple[str, list[str]]]) -> None:
    exports = tmp_path / EXPORTS
    exports.mkdir()
    (exports / f"{ID}.csv").write_text("")
    (tmp_path / "records.damaged-1.db").write_bytes(b"rubbish")
    Copies(tmp_path).erase({ID})
    assert (EXPORTS, []) in synced
    assert synced[-1][1] == [] or (tmp_path.name, [EXPORTS]) in synced
    assert not list(exports.iterdir()) and not list(tmp_path.glob("*.db"))


def test_removing_a_missing_file_succeeds(tmp_path: Path) -> None:
    database.remove(tmp_path / "none" / "x.db")


def test_a_path_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        write_private(tmp_path / "file" / "key", b"")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "file"
    path.write_text("before")
    with pytest.raises(type(error)), atomic_write(path) as file:
        file.write(b"half")
        raise error
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "before"
