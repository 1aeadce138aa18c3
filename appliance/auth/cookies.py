"""The cookie of a login, signed with the device's key, and the token that forms must carry beside it."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from appliance.auth.clock import ForwardClock

NAME = "__Host-interview-grader"
"""The prefix makes browsers accept it over TLS only, from and for this host only."""

RENEW_S = 60.0
"""An older cookie is renewed with the response; the idle time counts from then."""

LONGEST_S = 30 * 86_400.0
"""The longest life of a login in seconds, however much it is used."""


@dataclass(frozen=True)
class Login:
    """One login: the account's name and epoch, and a random id of its own.

    `began`: Unix seconds of the login itself; `age_s`: seconds since its cookie was made or renewed.
    """

    name: str
    epoch: str
    id: str
    began: float
    age_s: float = 0.0


class Cookies:
    """Makes and reads cookies. They expire unused after `idle_s` seconds, used after `longest_s`."""

    def __init__(
        self, key: bytes, idle_s: float, longest_s: float = LONGEST_S, clock: ForwardClock | None = None
    ) -> None:
        self._key, self.idle_s, self.longest_s = key, idle_s, longest_s
        self._clock = clock or ForwardClock()
        self._serializer = URLSafeSerializer(
            key, salt="login", signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
        )

    def begin(self, name: str, epoch: str) -> Login:
        """A new login of an account."""
        return Login(name, epoch, secrets.token_hex(16), self._clock.now())

    def text(self, login: Login) -> str:
        """The cookie's value as of now."""
        return str(
            self._serializer.dumps([login.name, login.epoch, login.id, login.began, self._clock.now()])
        )

    def read(self, text: str) -> Login | None:
        """The login of a cookie, None if it is forged, too old, or from the future."""
        try:
            name, epoch, id, began, made = self._serializer.loads(text)
            login = Login(str(name), str(epoch), str(id), float(began), self._clock.now() - float(made))
        except (BadData, TypeError, ValueError):
            return None
        return login if 0 <= login.age_s <= self.idle_s and not self.is_over(login) else None

    def is_over(self, login: Login) -> bool:
        """Whether the login is older than any login may be, however much it is used."""
        return self._clock.now() - login.began > self.longest_s

    def is_due(self, login: Login) -> bool:
        """Whether the cookie should be renewed with this response."""
        return login.age_s > min(RENEW_S, self.idle_s / 10)

    def form_token(self, login_id: str) -> str:
        """The CSRF token that every form and POST of this login must carry; another site cannot know it."""
        return hmac.new(self._key, b"form:" + login_id.encode(), hashlib.sha256).hexdigest()

    def is_form_token(self, login_id: str, given: str) -> bool:
        """Whether a POST carries the token of this login."""
        return hmac.compare_digest(self.form_token(login_id).encode(), given.encode())
