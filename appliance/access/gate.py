"""Everything that decides who comes in, in one hand."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from appliance.access.accounts import Accounts
from appliance.access.cookies import Cookies
from appliance.access.files import key
from appliance.access.limits import Rates, Tries
from appliance.access.passwords import Passwords
from appliance.access.tokens import Tokens
from appliance.access.uses import Uses


@dataclass(frozen=True)
class Gate:
    """`login`: clients on the network must log in, over TLS. Clients on loopback never need to."""

    login: bool
    accounts: Accounts
    tokens: Tokens
    cookies: Cookies
    tries: Tries
    links: Tries
    """The same for one-time links. They have 128 bits: this only keeps it quiet."""
    rates: Rates
    uses: Uses


def make_gate(
    folder: Path,
    *,
    login: bool,
    idle_minutes: float = 60,
    requests_per_s: float = 50,
    passwords: Passwords | None = None,
) -> Gate:
    """The gate of a device that keeps its secrets in `folder`; raises `StoreError`."""
    # Without login nothing outlives the process, so nothing is written.
    secret = key(folder / "cookie-key") if login else secrets.token_bytes(32)
    return Gate(
        login=login,
        accounts=Accounts(folder, passwords),
        tokens=Tokens(folder),
        cookies=Cookies(secret, 60 * idle_minutes),
        tries=Tries(),
        links=Tries(),
        rates=Rates(requests_per_s),
        uses=Uses(60 * idle_minutes),
    )
