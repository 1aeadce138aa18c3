"""The cookie of a login, signed with the device's key, and the token that forms must carry beside it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeTimedSerializer

NAME = "__Host-interview-grader"
"""The prefix makes browsers take it over TLS only, for this host only, from this host only."""

RENEW_S = 60.0
"""A cookie that is older is renewed with the answer; the idle time counts from then."""


@dataclass(frozen=True)
class Login:
    """One login: whose, of which epoch of the account, and its own random name."""

    name: str
    epoch: str
    id: str
    age_s: float = 0.0


class Cookies:
    """Makes and reads cookies; a cookie that nobody used for `idle_s` seconds is void."""

    def __init__(self, key: bytes, idle_s: float) -> None:
        self._key, self.idle_s = key, idle_s
        self._serializer = URLSafeTimedSerializer(
            key, salt="login", signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        )

    def begin(self, name: str, epoch: str) -> Login:
        """A new login of an account."""
        return Login(name, epoch, secrets.token_hex(16))

    def text(self, login: Login) -> str:
        """The cookie's value as of now."""
        return str(self._serializer.dumps([login.name, login.epoch, login.id]))

    def read(self, text: str) -> Login | None:
        """The login of a cookie, None if it was not made here, is too old, or comes from the future."""
        try:
            content, made = self._serializer.loads(text, max_age=int(self.idle_s), return_timestamp=True)
            name, epoch, id = map(str, content)
        except (BadData, TypeError, ValueError):
            return None
        return Login(name, epoch, id, time.time() - made.timestamp())

    def is_due(self, login: Login) -> bool:
        """Whether the cookie should be renewed with this answer."""
        return login.age_s > min(RENEW_S, self.idle_s / 10)

    def form_token(self, login_id: str) -> str:
        """What every form and every POST of this login must carry; another site cannot know it."""
        return hmac.new(self._key, b"form:" + login_id.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, login_id: str, given: str) -> bool:
        """Whether a POST carries the token of this login."""
        return hmac.compare_digest(self.form_token(login_id).encode(), given.encode())
