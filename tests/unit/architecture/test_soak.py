"""The soak test, which runs on demand only, refuses a run that is too short to measure growth."""

from __future__ import annotations

import sys

import pytest

from tests import soak


@pytest.mark.parametrize("seconds", ["45", "89.9", "nan"])
def test_a_run_that_is_too_short_is_refused(
    seconds: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak", "--seconds", seconds])
    with pytest.raises(SystemExit) as ended:
        soak.main()
    assert ended.value.code == 2
    assert f"--seconds {seconds} is too short: expected at least 90" in capsys.readouterr().err


def test_the_shortest_run_gives_enough_samples_for_a_slope() -> None:
    count = int(soak.SHORTEST_S / soak.SAMPLE_S)
    samples = [soak.Sample(soak.SAMPLE_S * number, 100.0, 10, 20) for number in range(1, count + 1)]
    assert soak.judge(samples) == []
