"""Wrong links are slowed down by address."""

from __future__ import annotations

from appliance.guesses import TRIES, WINDOW_S, Guesses


def test_after_too_many_an_address_waits_and_others_do_not() -> None:
    now = [100.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(TRIES):
        assert guesses.wait_s("a") == 0
        guesses.wrong("a")
        now[0] += 1
    assert 0 < guesses.wait_s("a") <= WINDOW_S
    assert guesses.wait_s("b") == 0
    now[0] += WINDOW_S
    assert guesses.wait_s("a") == 0


def test_many_addresses_are_not_kept_for_ever() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(5000):
        guesses.wrong(f"10.0.{number // 256}.{number % 256}")
    assert len(guesses._tried) <= 256
