"""Who makes a request: a program or browser on the device itself, a login, a token, or an unknown client."""

from __future__ import annotations

import hmac
import logging
from dataclasses import dataclass

from flask import Request, g, request

from appliance.auth.cookies import Login, cookie_name
from appliance.auth.service import AuthService
from appliance.auth.tokens import digest_of
from appliance.errors import StoreError
from appliance.system.addresses import is_loopback
from appliance.web.context import context
from appliance.web.proxies import route_of

LOOPBACK, LOCAL, LOGIN, TOKEN, GUEST, OPEN, ANONYMOUS = (
    "loopback",
    "local",
    "login",
    "token",
    "guest",
    "open",
    "anonymous",
)
"""How a caller is known."""

_BASIC = "HTTP Basic"
"""What wrong passwords of HTTP Basic are counted and logged under; no account can have this name."""

_log = logging.getLogger("appliance.web")


@dataclass(frozen=True)
class Caller:
    """Who makes a request.

    `role`: operator, viewer, metrics, analyze, camera, or empty; `name`: of the account or the token, or the
    page of a guest; `digest`: of the token or of the guest's secret, empty for others.
    """

    kind: str
    role: str = ""
    name: str = ""
    login: Login | None = None
    digest: str = ""

    @property
    def actor(self) -> str:
        """The caller in the audit log: loopback, local, operator, viewer, token:NAME or guest:PAGE."""
        if self.kind in (TOKEN, GUEST):
            return f"{self.kind}:{self.name}"
        return self.kind if self.kind in (LOOPBACK, LOCAL) else self.role or "viewer"

    @property
    def is_operator(self) -> bool:
        """Whether the caller may do everything."""
        return self.role == "operator"

    @property
    def seat(self) -> str:
        """Whose viewer seats the caller takes: those of its token; empty for others."""
        return self.name if self.kind == TOKEN else ""

    @property
    def identity(self) -> str:
        """What a returning browser is known by: its login, token or link. All on the device are one."""
        return self.login.id if self.login else f"{self.kind}:{self.name}:{self.digest}"

    def is_still_authorized(self, auth: AuthService) -> bool:
        """Whether the caller still has the role: not logged out, removed, revoked, or idle for too long."""
        is_idle = self.login is not None and auth.idle.is_idle(self.login.id)
        return not is_idle and self.has_role(auth)

    def has_role(self, auth: AuthService) -> bool:
        """As `is_still_authorized`, also while the caller is idle."""
        try:
            if self.kind == TOKEN:
                return auth.tokens.role_of(self.name, self.digest) == self.role
            if self.kind == GUEST:
                return auth.one_time_links.find_by_digest(self.digest) is not None
            if self.login is not None:
                if auth.cookies.is_over(self.login):
                    return False
                return auth.accounts.role_of(self.name, self.login.epoch, self.login.id) == self.role
        except StoreError as error:
            _log.error("%s", error)
            return False
        return self.kind != ANONYMOUS


def caller() -> Caller:
    """Who makes the current request."""
    if "caller" not in g:
        g.caller = _identify(request, context().auth)
    known: Caller = g.caller
    return known


def identify_basic() -> None:
    """Let the current request name its caller by HTTP Basic: any user name, a viewer token as the password.

    Call it before `caller`. A wrong password counts as a wrong try and is in the audit log. Raises
    `TooManyAttempts` for one that comes too early.
    """
    given, app_context = request.authorization, context()
    if given is None or given.type != "basic" or not _may_send_secret(request, app_context.auth):
        return
    found = app_context.auth.tokens.find(given.password or "")
    if found is None:
        address = request.remote_addr or ""
        app_context.auth.login_attempts.begin(address, _BASIC)
        app_context.audit.record("login_failed", "unknown", name=_BASIC, address=address)
    is_viewer = found is not None and found[1] == "viewer"
    g.caller = _token_caller(found, given.password or "") if is_viewer else Caller(ANONYMOUS)


def identify_guest() -> Caller:
    """The guest who makes the current request, see `auth.one_time_links`; anonymous if it is none."""
    auth = context().auth
    secret = request.cookies.get(cookie_name(request.root_path, guest=True), "")
    guest = auth.one_time_links.find(secret) if secret and _may_send_secret(request, auth) else None
    if guest is None or route_of(request.environ).refusal:
        return Caller(ANONYMOUS)
    return Caller(GUEST, guest.role, guest.page, digest=guest.digest)


def is_from_this_device(asked: Request) -> bool:
    """Whether a request comes from this device itself. A request that a proxy forwards does not."""
    return route_of(asked.environ).is_from_this_device


def is_trusted_loopback(asked: Request) -> bool:
    """Whether a request is the operator's because it comes from this device itself."""
    return context().auth.loopback_is_operator and is_from_this_device(asked)


def has_local_token(asked: Request) -> bool:
    """Whether a program of root on this device makes a request: it has the token of `auth.local_token`."""
    known, route = context().auth.local_token, route_of(asked.environ)
    # Also from the address of a trusted proxy: such programs run where a proxy on this device does.
    given = _bearer(asked) if is_loopback(route.peer) and not route.has_traces else None
    return bool(known) and hmac.compare_digest((given or "").encode(), known.encode())


def _bearer(asked: Request) -> str | None:
    """The bearer token that a request carries, None without one."""
    scheme, _, secret = asked.headers.get("Authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


def _may_send_secret(asked: Request, auth: AuthService) -> bool:
    """Whether no one on the network can read what the request carries: it came over TLS or loopback."""
    return is_from_this_device(asked) or auth.login


def _token_caller(found: tuple[str, str] | None, secret: str) -> Caller:
    """The caller with a token, by its name and role; unknown without one."""
    return Caller(TOKEN, found[1], found[0], digest=digest_of(secret)) if found else Caller(ANONYMOUS)


def _identify(asked: Request, auth: AuthService) -> Caller:
    if has_local_token(asked):
        return Caller(LOCAL, role="viewer")
    if route_of(asked.environ).refusal:
        return Caller(ANONYMOUS)
    secret = _bearer(asked)
    if secret is not None and _may_send_secret(asked, auth):
        return _token_caller(auth.tokens.find(secret), secret)
    if is_trusted_loopback(asked):
        return Caller(LOOPBACK, role="operator")
    if not auth.login:
        return Caller(OPEN, role="viewer") if context().network.open else Caller(ANONYMOUS)
    login = auth.cookies.read(asked.cookies.get(cookie_name(asked.root_path), ""))
    role = auth.accounts.role_of(login.name, login.epoch, login.id) if login else ""
    if not (login and role):
        return Caller(ANONYMOUS)
    auth.idle.note(login.id)
    return Caller(LOGIN, role=role, name=login.name, login=login)
