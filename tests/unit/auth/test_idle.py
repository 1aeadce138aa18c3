"""A login that nobody uses is idle."""

from __future__ import annotations

from appliance.auth.idle import IdleTracker


def test_a_login_is_idle_when_no_request_came_for_long_enough() -> None:
    now = 100.0
    uses = IdleTracker(60.0, clock=lambda: now)
    assert uses.is_idle("a")
    uses.note("a")
    now += 60
    assert not uses.is_idle("a")
    uses.note("b")
    now += 1
    assert (uses.is_idle("a"), uses.is_idle("b")) == (True, False)
    uses.note("a")
    assert not uses.is_idle("a")


def test_logins_of_the_past_are_forgotten() -> None:
    now = 0.0
    uses = IdleTracker(1.0, clock=lambda: now)
    for number in range(1000):
        uses.note(str(number))
        now += 0.5
    assert len(uses._last) <= 4
