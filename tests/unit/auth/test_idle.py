"""A login without requests becomes idle."""

from __future__ import annotations

from appliance.auth.idle import IdleTracker


def test_a_login_without_requests_becomes_idle() -> None:
    now = 100.0
    idle = IdleTracker(60.0, clock=lambda: now)
    assert idle.is_idle("a")
    idle.note("a")
    now += 60
    assert not idle.is_idle("a")
    idle.note("b")
    now += 1
    assert (idle.is_idle("a"), idle.is_idle("b")) == (True, False)
    idle.note("a")
    assert not idle.is_idle("a")


def test_old_logins_are_forgotten() -> None:
    now = 0.0
    idle = IdleTracker(1.0, clock=lambda: now)
    for number in range(1000):
        idle.note(str(number))
        now += 0.5
    assert len(idle._last) <= 4
