"""Wrong attempts and floods: which clients are slowed down, by how much, and which are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.auth import rate_limits
from appliance.auth.rate_limits import (
    FREE_TRIES,
    LONGEST_S,
    MOST_ADDRESSES,
    AttemptLimiter,
    RequestRates,
    network_of,
)
from appliance.errors import TooManyAttempts
from tests.fakes.clock import Clock

HERE, THERE = "192.0.2.7", "192.0.2.8"


def wait_of(tries: AttemptLimiter, address: str = HERE) -> float:
    """How long the next attempt must wait; makes the attempt if it is allowed."""
    try:
        tries.begin(address)
    except TooManyAttempts as error:
        return error.wait_s
    return 0.0


def test_after_five_wrong_attempts_the_pauses_double() -> None:
    clock = Clock()
    tries, waits = AttemptLimiter(clock), []
    for _ in range(FREE_TRIES):
        assert wait_of(tries) == 0
    for _ in range(9):
        waits.append(wait_of(tries))
        clock.now += waits[-1]
        assert wait_of(tries) == 0
    assert waits == [1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S, LONGEST_S]


def test_a_refused_attempt_does_not_extend_the_pause() -> None:
    clock = Clock()
    tries = AttemptLimiter(clock)
    for _ in range(FREE_TRIES):
        tries.begin(HERE)
    assert [wait_of(tries) for _ in range(3)] == [1, 1, 1]
    clock.now += 1
    assert wait_of(tries) == 0


def test_other_addresses_are_not_slowed_down() -> None:
    tries = AttemptLimiter(Clock())
    for _ in range(FREE_TRIES):
        tries.begin(HERE)
    assert wait_of(tries) > 0 and wait_of(tries, THERE) == 0


def test_a_correct_attempt_or_a_quiet_quarter_of_an_hour_resets_the_count() -> None:
    clock = Clock()
    tries = AttemptLimiter(clock)
    for forget in (lambda: tries.succeeded(HERE), lambda: setattr(clock, "now", clock.now + 901)):
        for _ in range(FREE_TRIES):
            tries.begin(HERE)
        assert wait_of(tries) > 0
        forget()
        assert wait_of(tries) == 0
        tries.succeeded(HERE)


def test_a_correct_password_does_not_clear_attempts_on_other_accounts() -> None:
    tries, answered = AttemptLimiter(Clock()), 0
    for _ in range(25):
        for _ in range(4):
            answered += _is_answered(tries, "operator")
        if _is_answered(tries, "anna"):
            tries.succeeded(HERE, "anna")
    assert answered == FREE_TRIES, "of 100 guesses"


def _is_answered(tries: AttemptLimiter, account: str) -> bool:
    try:
        tries.begin(HERE, account)
    except TooManyAttempts:
        return False
    return True


def test_a_correct_password_clears_attempts_on_its_own_account() -> None:
    tries = AttemptLimiter(Clock())
    for _ in range(20):
        for _ in range(4):
            tries.begin(HERE, "anna")
        tries.succeeded(HERE, "anna")


def test_an_undone_attempt_does_not_count() -> None:
    tries = AttemptLimiter(Clock())
    for _ in range(4 * FREE_TRIES):
        tries.begin(HERE, "anna")
        tries.undo(HERE, "anna")
    for _ in range(FREE_TRIES):
        assert wait_of(tries) == 0
    assert wait_of(tries) > 0
    tries.undo(HERE, "ben")
    assert wait_of(tries) > 0, "no attempt was made on ben"


def test_memory_is_bounded() -> None:
    tries, rates = AttemptLimiter(Clock()), RequestRates(10, Clock())
    for number in range(MOST_ADDRESSES + 50):
        address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        tries.begin(address)
        rates.take(address)
    assert len(tries._clients) == len(rates._buckets) == MOST_ADDRESSES


def test_an_attacker_on_the_local_link_does_not_lock_out_the_owner() -> None:
    tries = AttemptLimiter(clock=lambda: 100.0)
    for _ in range(FREE_TRIES):
        tries.begin("fe80::bad%eth0")
    with pytest.raises(TooManyAttempts):
        tries.begin("fe80::bad%eth0")
    tries.begin("fe80::900d%eth0")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "loopback"),
        ("127.3.2.1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("2001:db8:9:9::7", "2001:db8:9:9::7"),  # the device has an address in this network itself
        ("not one", "not one"),
    ],
)
def test_what_counts_as_one_address(
    address: str, network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "if_inet6"
    listed.write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "20010db8000900090000000000000001 02 40 00 80     eth0\n"
    )
    monkeypatch.setattr(rate_limits, "_OWN_IPV6", listed)
    assert network_of(address) == network


def test_a_burst_is_allowed_and_a_flood_is_not() -> None:
    clock = Clock()
    rates = RequestRates(10, clock)
    for _ in range(40):
        rates.take(HERE)
    with pytest.raises(TooManyAttempts) as refused:
        rates.take(HERE)
    assert 0 < refused.value.wait_s <= 0.1
    rates.take(THERE)
    clock.now += 1
    for _ in range(10):
        rates.take(HERE)
    with pytest.raises(TooManyAttempts):
        rates.take(HERE)


def test_a_flooding_client_still_gets_its_share() -> None:
    clock = Clock()
    rates, served = RequestRates(10, clock), 0
    for _ in range(4000):
        clock.now += 0.005
        try:
            rates.take(HERE)
            served += 1
        except TooManyAttempts:
            pass
    assert 230 <= served <= 245  # 20 s at 10 a second, and the burst
