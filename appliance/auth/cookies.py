"""The cookie of a login, signed with the device's key, and the CSRF token that forms must carry."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from itsdangerous import BadData, URLSafeSerializer

from appliance.auth.clock import ForwardClock

_NAME = "interview-grader"

RENEW_S = 60.0
"""An older cookie is renewed with the response, which also restarts the idle time."""

LONGEST_S = 30 * 86_400.0
"""The longest life of a login in seconds, even if it is used all the time."""


def cookie_name(prefix: str = "", *, guest: bool = False) -> str:
    """The name of the cookie of a login, or of a guest, on pages below the path `prefix`, empty for `/`.

    `__Host-` makes browsers accept it only over TLS, and only from and for this host, with the path `/`.
    Below a path other pages share the host and must not get the cookie: `__Secure-` allows another path.
    """
    name = f"{_NAME}-guest" if guest else _NAME
    return f"__Secure-{name}" if prefix else f"__Host-{name}"


@dataclass(frozen=True)
class Login:
    """One login: the account's name and epoch, and a random id.

    `began`: Unix seconds of the login itself; `age_s`: seconds since its cookie was made or renewed.
    """

    name: str
    epoch: str
    id: str
    began: float
    age_s: float = 0.0


class Cookies:
    """Makes and reads cookies. They expire after `idle_s` seconds without use, or `longest_s` in any case."""

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
        """The cookie's value, with the current time."""
        return str(
            self._serializer.dumps([login.name, login.epoch, login.id, login.began, self._clock.now()])
        )

    def read(self, text: str) -> Login | None:
        """The login of a cookie; None if it is forged, too old, or from the future."""
        try:
            name, epoch, id, began, made = self._serializer.loads(text)
            login = Login(str(name), str(epoch), str(id), float(began), self._clock.now() - float(made))
        except (BadData, TypeError, ValueError):
            return None
        return login if 0 <= login.age_s <= self.idle_s and not self.is_over(login) else None

    def is_over(self, login: Login) -> bool:
        """Whether the login is older than the longest life."""
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
