"""Atomic replacement of files, and cleaning up after a failure."""

from __future__ import annotations

from pathlib import Path

import pytest
from device.system.files import replacing


def test_a_file_is_replaced_and_a_failure_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with replacing(path) as partial:
        partial.write_text("complete")
    assert path.read_text() == "complete"
    with pytest.raises(OSError, match="full"), replacing(path, "{}.part") as partial:
        partial.write_text("partial")
        raise OSError("full")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert path.read_text() == "complete"
