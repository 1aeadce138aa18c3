"""The outcome of the last update: saved, read back, and described for the page."""

from __future__ import annotations

import pytest

from appliance.system import last_update
from appliance.system.last_update import LastUpdate

DONE = LastUpdate("1.2.0", "1.2.0", "updated", "2026-11-25T14:44:23Z")
FAILED = LastUpdate("1.1.0", "1.2.0", "failed", "2026-11-25T14:44:23Z", "it does not start")


def test_it_is_saved_and_read_back(tmp_path):
    assert last_update.read_last_update(tmp_path) is None
    for last in (DONE, FAILED):
        last_update.save_last_update(tmp_path, last)
        assert last_update.read_last_update(tmp_path) == last
    assert (tmp_path / "update.json").stat().st_mode & 0o077 == 0


def test_the_summary_describes_the_outcome():
    assert DONE.summary() == "updated to 1.2.0, 2026-11-25 14:44 UTC"
    assert (
        FAILED.summary()
        == "to 1.2.0, 2026-11-25 14:44 UTC: failed, 1.1.0 is still running (it does not start)"
    )


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 1}', "null", "\x00" * 100])
def test_an_unreadable_file_means_no_update(tmp_path, content):
    (tmp_path / "update.json").write_text(content)
    assert last_update.read_last_update(tmp_path) is None
