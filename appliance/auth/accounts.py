"""The accounts of this device, in one small file: one operator, and the viewers that the operator adds."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from appliance.auth.clock import ForwardClock
from appliance.auth.files import PrivateFile
from appliance.auth.passwords import Passwords
from appliance.errors import AccessConflict, AccessError, UnknownName

OPERATOR = "operator"
"""The name of the account that may do everything."""

CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no letter that looks like a digit
CODE_LENGTH = 12  # 60 bits

MOST_VIEWERS = 100
NAME_PATTERN = "[a-z0-9][a-z0-9._-]{0,31}"
"""The names of accounts and tokens."""


class Account(BaseModel):
    """One account. A new `epoch` invalidates all earlier cookies."""

    model_config = ConfigDict(extra="forbid")

    role: str
    password: str
    epoch: str
    made: float


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    first_code: str = ""
    """SHA-256 of the first code; empty once it is used."""
    accounts: dict[str, Account] = {}
    ended: dict[str, float] = {}
    """Ended logins and when they ended; kept until their cookies have expired."""


def normalise_code(code: str) -> str:
    """A typed code in canonical form: upper case, without spaces and dashes."""
    return re.sub(r"[\s-]", "", code).upper()


class Accounts:
    """The accounts. Every method raises `StoreError` if the file cannot be read or written."""

    def __init__(
        self, folder: Path, passwords: Passwords | None = None, clock: ForwardClock | None = None
    ) -> None:
        self._clock = clock or ForwardClock()
        self._file = PrivateFile(folder / "accounts.json", _Content)
        self._passwords = passwords or Passwords()
        self._code = ""

    def has_operator(self) -> bool:
        """Whether the operator has set a password."""
        return OPERATOR in self._file.read().accounts

    def roles(self) -> dict[str, str]:
        """Account names and roles, the operator first."""
        accounts = self._file.read().accounts
        return {
            name: accounts[name].role for name in sorted(accounts, key=lambda name: (name != OPERATOR, name))
        }

    def new_first_code(self) -> str:
        """Make a code that sets the operator's password once. It replaces any earlier code."""
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
        with self._file.edit() as content:
            content.first_code = _digest(code)
        self._code = code
        return _in_groups(code)

    def first_code(self) -> str | None:
        """The first code that this object made; None if it made none or the code is no longer valid."""
        expected = self._file.read().first_code
        is_valid = bool(expected) and hmac.compare_digest(_digest(self._code), expected)
        return _in_groups(self._code) if is_valid else None

    def reset(self) -> str:
        """Delete the operator's password and end the operator's logins; returns a new first code.

        A damaged file is set aside, since no one could log in with it.
        """
        self._file.set_aside()
        with self._file.edit() as content:
            content.accounts.pop(OPERATOR, None)
        return self.new_first_code()

    def claim(self, code: str, password: str) -> bool:
        """Set the operator's password with the first code, which is then used up; False for a wrong code."""
        expected = self._file.read().first_code
        if not expected or not hmac.compare_digest(_digest(normalise_code(code)), expected):
            self._passwords.verify(None, password)
            return False
        kept = self._passwords.hash(password)
        with self._file.edit() as content:
            if content.first_code != expected:
                return False  # another request was faster
            content.first_code = ""
            content.accounts[OPERATOR] = _account(OPERATOR, kept)
        return True

    def check(self, name: str, password: str) -> bool:
        """Whether this is the password of an account; an unknown name takes equally long."""
        account = self._file.read().accounts.get(name)
        return self._passwords.verify(account.password if account else None, password)

    def add_viewer(self, name: str, password: str) -> None:
        """Add a viewer; raises `AccessError` if the name is invalid or already used."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise AccessError(
                "expected 1 to 32 lower-case letters, digits, dots, dashes, such as anna",
                key="name",
                value=name,
            )
        kept = self._passwords.hash(password)
        with self._file.edit() as content:
            if name in content.accounts or name == OPERATOR:
                raise AccessConflict(
                    "an account with this name already exists; choose another name", key="name", value=name
                )
            if len(content.accounts) >= MOST_VIEWERS:
                raise AccessConflict(f"{MOST_VIEWERS} viewers are the limit; remove one first")
            content.accounts[name] = _account("viewer", kept)

    def set_password(self, name: str, password: str) -> None:
        """Change a password; all logins of the account end."""
        kept = self._passwords.hash(password)
        with self._file.edit() as content:
            known = _known(content, name)
            known.password, known.epoch = kept, _epoch()

    def remove(self, name: str) -> None:
        """Remove a viewer and end its logins. The operator is never removed, only reset."""
        with self._file.edit() as content:
            if _known(content, name).role == OPERATOR:
                raise AccessError("the operator cannot be removed; use `access reset` for a new first code")
            del content.accounts[name]

    def end_logins(self, name: str) -> None:
        """Log an account out everywhere."""
        with self._file.edit() as content:
            _known(content, name).epoch = _epoch()

    def end_login(self, login: str, keep_s: float) -> None:
        """End one login. It is remembered for `keep_s` seconds; by then its cookie has expired."""
        now = self._clock.now()
        with self._file.edit() as content:
            content.ended = {one: when for one, when in content.ended.items() if now - when <= keep_s}
            content.ended[login] = now

    def last_logout(self) -> float:
        """Unix seconds of the newest remembered logout; 0 if there is none."""
        return max(self._file.read().ended.values(), default=0.0)

    def epoch(self, name: str) -> str:
        """The epoch of an account's logins; empty for an unknown name."""
        account = self._file.read().accounts.get(name)
        return account.epoch if account else ""

    def role_of(self, name: str, epoch: str, login: str) -> str:
        """The role of a login; empty if it ended: logged out, password changed, account removed."""
        content = self._file.read()
        account = content.accounts.get(name)
        if account is None or not hmac.compare_digest(account.epoch, epoch) or login in content.ended:
            return ""
        return account.role


def _in_groups(code: str) -> str:
    return "-".join(code[at : at + 4] for at in range(0, CODE_LENGTH, 4))


def _known(content: _Content, name: str) -> Account:
    if name not in content.accounts:
        known = ", ".join(sorted(content.accounts)) or "none"
        raise UnknownName(f"no account has this name; existing accounts: {known}", key="name", value=name)
    return content.accounts[name]


def _account(role: str, kept: str) -> Account:
    return Account(role=role, password=kept, epoch=_epoch(), made=time.time())


def _epoch() -> str:
    return secrets.token_hex(8)  # random, so that a new account with an old name does not revive old cookies


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
