"""Everything that the web package needs for authentication, in one object."""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.auth.accounts import Accounts
from appliance.auth.clock import ForwardClock
from appliance.auth.cookies import Cookies
from appliance.auth.files import load_key
from appliance.auth.idle import IdleTracker
from appliance.auth.one_time_links import OneTimeLinks
from appliance.auth.passwords import Passwords
from appliance.auth.rate_limits import AttemptLimiter, RequestRates
from appliance.auth.tokens import Tokens
from appliance.errors import StoreError


@dataclass(frozen=True)
class AuthService:
    """`login`: clients must log in, over TLS; clients on loopback only if not `loopback_is_operator`."""

    login: bool
    loopback_is_operator: bool
    accounts: Accounts
    tokens: Tokens
    one_time_links: OneTimeLinks
    cookies: Cookies
    login_attempts: AttemptLimiter
    link_attempts: AttemptLimiter
    """For personal and one-time links. They have 128 random bits, so this limit only saves work."""
    request_rates: RequestRates
    idle: IdleTracker
    local_token: str
    """See the module `local_token`."""


def make_auth_service(
    folder: Path,
    *,
    login: bool,
    loopback_is_operator: bool = True,
    idle_minutes: float = 60,
    longest_days: float = 30,
    requests_per_s: float = 50,
    passwords: Passwords | None = None,
) -> AuthService:
    """The service of a device with its secrets in `folder`; raises `StoreError`."""
    # Without login nothing must outlive the process, so nothing is written.
    secret = load_key(folder / "cookie-key") if login else secrets.token_bytes(32)
    clock = ForwardClock()
    accounts = Accounts(folder, passwords, clock)
    with contextlib.suppress(StoreError):  # a damaged file is reported when it is used
        clock.at_least(accounts.last_logout())
    return AuthService(
        login=login,
        loopback_is_operator=loopback_is_operator,
        accounts=accounts,
        tokens=Tokens(folder),
        one_time_links=OneTimeLinks(),
        cookies=Cookies(secret, 60 * idle_minutes, 86_400 * longest_days, clock),
        login_attempts=AttemptLimiter(),
        link_attempts=AttemptLimiter(),
        request_rates=RequestRates(requests_per_s),
        idle=IdleTracker(60 * idle_minutes),
        local_token=secrets.token_hex(32),
    )
