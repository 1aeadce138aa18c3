"""What commands over files report on standard error."""

from __future__ import annotations

import pytest

from appliance.commands.reporting import RunCounts, print_note


def test_a_note_is_one_line_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_note("a\x1b[2J\nb.jpg: is empty")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("interview-grader: a") and "\x1b" not in lines[0]


def test_the_summary_has_all_counts_in_one_line() -> None:
    counts = RunCounts(pictures=1, videos=2, failed=3, frames=4, faces=1, beyond_limit=0, lost=5)
    counts.skipped["hidden"] = 2
    assert counts.summary() == (
        "read 1 picture and 2 videos, 3 failed, 2 skipped (2 hidden);"
        " 4 frames, 1 face, 0 faces beyond vision.max_people, 5 frames lost"
    )
