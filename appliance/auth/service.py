"""Everything that decides who comes in, in one hand."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.auth.accounts import Accounts
from appliance.auth.clock import ForwardClock
from appliance.auth.cookies import Cookies
from appliance.auth.files import key
from appliance.auth.idle import IdleTracker
from appliance.auth.limits import Rates, Tries
from appliance.auth.passwords import Passwords
from appliance.auth.tokens import Tokens
from appliance.errors import StoreError


@dataclass(frozen=True)
class Gate:
    """`login`: clients must log in, over TLS; on loopback only without `loopback_is_operator`."""

    login: bool
    loopback_is_operator: bool
    accounts: Accounts
    tokens: Tokens
    cookies: Cookies
    tries: Tries
    links: Tries
    """The same for one-time links. They have 128 bits: this only keeps it quiet."""
    rates: Rates
    uses: IdleTracker
    local_token: str
    """See the module `local_token`."""


def make_gate(
    folder: Path,
    *,
    login: bool,
    loopback_is_operator: bool = True,
    idle_minutes: float = 60,
    longest_days: float = 30,
    requests_per_s: float = 50,
    passwords: Passwords | None = None,
) -> Gate:
    """The gate of a device that keeps its secrets in `folder`; raises `StoreError`."""
    # Without login nothing outlives the process, so nothing is written.
    secret = key(folder / "cookie-key") if login else secrets.token_bytes(32)
    clock = ForwardClock()
    accounts = Accounts(folder, passwords, clock)
    with contextlib.suppress(StoreError):  # a damaged file is reported when it is used
        clock.at_least(accounts.last_logout())
    return Gate(
        login=login,
        loopback_is_operator=loopback_is_operator,
        accounts=accounts,
        tokens=Tokens(folder),
        cookies=Cookies(secret, 60 * idle_minutes, 86_400 * longest_days, clock),
        tries=Tries(),
        links=Tries(),
        rates=Rates(requests_per_s),
        uses=IdleTracker(60 * idle_minutes),
        local_token=secrets.token_hex(32),
    )
