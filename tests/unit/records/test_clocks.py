"""Elapsed seconds: with a right clock, a jumping one, and a device switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.records.store.ages import LONGEST_OFF_S, SETTLE_S, Ages, ElapsedTime
from tests.fakes.records import DAY_S, Time

HOUR_S = 3600.0


def counted(time: Time, elapsed: ElapsedTime) -> float:
    return elapsed.update(time.clocks())


def begun(time: Time) -> ElapsedTime:
    return ElapsedTime.begin(time.clocks())


def test_time_switched_on_counts_exactly() -> None:
    time = Time()
    elapsed = begun(time)
    time.passes(DAY_S)
    assert counted(time, elapsed) == DAY_S


@pytest.mark.parametrize("jump", [HOUR_S, 20 * HOUR_S, 365 * DAY_S, 10 * 365 * DAY_S])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_jump_counts_nothing_at_once(jump: float, sign: int) -> None:
    time = Time()
    elapsed = begun(time)
    time.wall += sign * jump
    time.passes(HOUR_S)
    assert counted(time, elapsed) == HOUR_S


@pytest.mark.parametrize("jump", [5 * HOUR_S, 3 * 365 * DAY_S])
def test_a_jump_that_is_reversed_never_counts(jump: float) -> None:
    time = Time()
    elapsed = begun(time)
    time.wall += jump
    counted(time, elapsed)
    time.passes(HOUR_S)
    counted(time, elapsed)
    time.wall -= jump
    time.passes(2 * SETTLE_S)
    assert counted(time, elapsed) == HOUR_S + 2 * SETTLE_S
    assert elapsed.jumps == []


def test_a_jump_of_years_that_stays_never_counts() -> None:
    time = Time()
    elapsed = begun(time)
    time.wall += LONGEST_OFF_S + DAY_S
    for _ in range(48):
        time.passes(HOUR_S)
        counted(time, elapsed)
    assert counted(time, elapsed) == 48 * HOUR_S


def test_time_switched_off_counts_once_the_clock_is_consistent() -> None:
    time = Time()
    elapsed = begun(time)
    time.switched_off(5 * DAY_S)
    counted(time, elapsed)
    time.passes(SETTLE_S - 1)
    assert counted(time, elapsed) == SETTLE_S - 1
    time.passes(1)
    assert counted(time, elapsed) == SETTLE_S + 5 * DAY_S


def test_a_device_switched_off_every_night_loses_no_night() -> None:
    time = Time()
    elapsed = begun(time)
    for _ in range(10):
        for _ in range(8):
            time.passes(HOUR_S)
            counted(time, elapsed)
        time.switched_off(16 * HOUR_S)
        counted(time, elapsed)
    time.passes(SETTLE_S)
    assert counted(time, elapsed) == pytest.approx(10 * DAY_S + SETTLE_S)


def test_a_clock_that_starts_in_1970_is_set_by_the_network() -> None:
    time = Time()
    elapsed = begun(time)
    now = time.wall + 2 * DAY_S
    time.switched_off(0)
    time.wall = 30.0
    counted(time, elapsed)
    time.passes(60)
    counted(time, elapsed)
    time.wall = now
    counted(time, elapsed)
    time.passes(SETTLE_S)
    assert counted(time, elapsed) == pytest.approx(2 * DAY_S + SETTLE_S, abs=120)


def test_a_clock_that_goes_back_for_good_does_not_stop_the_count() -> None:
    time = Time()
    elapsed = begun(time)
    time.wall -= 20 * 365 * DAY_S
    for _ in range(7 * 24):
        time.passes(HOUR_S)
        counted(time, elapsed)
    assert elapsed.elapsed == 7 * DAY_S
    time.switched_off(DAY_S)
    counted(time, elapsed)
    time.passes(SETTLE_S)
    assert counted(time, elapsed) == 8 * DAY_S + SETTLE_S


def test_many_jumps_are_kept_within_bounds() -> None:
    time = Time()
    elapsed = begun(time)
    for _ in range(500):
        time.wall += 600
        counted(time, elapsed)
    assert len(elapsed.jumps) < 100
    time.passes(SETTLE_S)
    assert counted(time, elapsed) == SETTLE_S + 500 * 600


def test_the_count_continues_after_a_restart(tmp_path: Path) -> None:
    time = Time()
    ages = Ages(tmp_path / "age.json", time.clocks())
    ages.now()
    time.passes(100)
    ages.begun("a file", 40.0)
    ages.save()
    time.passes(50)
    again = Ages(tmp_path / "age.json", time.clocks())
    assert again.now() == 150.0
    assert again.begun("a file") == 40.0


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"elapsed": "x"}', b"\xff\xfe", b'{"elapsed": 1}']
)
def test_after_damage_the_count_is_not_behind_the_rows(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "age.json"
    path.write_bytes(content)
    ages = Ages(path, Time().clocks())
    ages.at_least(5000.0)
    assert ages.now() == 5000.0
