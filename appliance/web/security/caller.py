"""Who makes a request: somebody on the device itself, a login, a token, or nobody known."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass

from flask import Request, g, request

from appliance.auth.cookies import NAME, Login
from appliance.auth.tokens import digest_of
from appliance.configuration.load import is_loopback
from appliance.errors import StoreError
from appliance.web.site import Site, site

LOOPBACK, LOCAL, LOGIN, TOKEN, OPEN, NOBODY = "loopback", "local", "login", "token", "open", "nobody"
"""How a caller is known."""

_FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")

_log = logging.getLogger("appliance.web")


@dataclass(frozen=True)
class Caller:
    """Who calls. `role`: operator, viewer, metrics, or empty; `name`: of the account or the token.

    `digest`: of the token, empty for others.
    """

    kind: str
    role: str = ""
    name: str = ""
    login: Login | None = None
    digest: str = ""

    def who(self) -> str:
        """As the audit log writes it."""
        if self.kind == TOKEN:
            return f"token:{self.name}"
        return self.kind if self.kind in (LOOPBACK, LOCAL) else self.role or "viewer"

    def is_welcome(self, here: Site) -> bool:
        """Whether the role is still theirs: not logged out, removed, revoked, or unused for long."""
        try:
            if self.kind == TOKEN:
                return here.auth.tokens.role_of(self.name, self.digest) == self.role
            if self.login is not None:
                if here.auth.idle.is_idle(self.login.id) or here.auth.cookies.is_over(self.login):
                    return False
                return here.auth.accounts.role_of(self.name, self.login.epoch, self.login.id) == self.role
        except StoreError as error:
            _log.error("%s", error)
            return False
        return self.kind != NOBODY


def caller() -> Caller:
    """Who makes the current request."""
    if "caller" not in g:
        g.caller = _identify(request, site())
    known: Caller = g.caller
    return known


def is_near(asked: Request) -> bool:
    """Whether a request comes from this device itself. A request that a proxy forwards does not."""
    forwarded = any(name in asked.headers for name in _FORWARDED)
    return is_loopback(asked.remote_addr or "") and not forwarded


def is_trusted(asked: Request) -> bool:
    """Whether a request is the operator's because of where it comes from."""
    return site().auth.loopback_is_operator and is_near(asked)


def is_root(asked: Request) -> bool:
    """Whether root's programs on this device make a request: it has the token of `access.local_token`."""
    known = site().auth.local_token
    scheme, _, secret = asked.headers.get("Authorization", "").partition(" ")
    given = secret.strip() if scheme.lower() == "bearer" and is_near(asked) else ""
    return bool(known) and hmac.compare_digest(given.encode(), known.encode())


def _identify(asked: Request, here: Site) -> Caller:
    near = is_near(asked)
    scheme, _, secret = asked.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and (near or here.auth.login):
        secret = secret.strip()
        if is_root(asked):
            return Caller(LOCAL, role="viewer")
        found = here.auth.tokens.find(secret)
        return Caller(TOKEN, found[1], found[0], digest=digest_of(secret)) if found else Caller(NOBODY)
    if is_trusted(asked):
        return Caller(LOOPBACK, role="operator")
    if not here.auth.login:
        return Caller(OPEN, role="viewer")
    login = here.auth.cookies.read(asked.cookies.get(NAME, ""))
    role = here.auth.accounts.role_of(login.name, login.epoch, login.id) if login else ""
    if not (login and role):
        return Caller(NOBODY)
    here.auth.idle.note(login.id)
    return Caller(LOGIN, role=role, name=login.name, login=login)
