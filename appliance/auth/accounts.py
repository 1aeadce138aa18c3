"""The accounts of this device: one operator, and the viewers the operator made. One small file."""

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
from appliance.errors import AccessError

OPERATOR = "operator"
"""The name of the account that may do everything."""

CODE_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # no letter that looks like a digit
CODE_LENGTH = 12  # 60 bits

MOST_VIEWERS = 100
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")


class Account(BaseModel):
    """One account. `epoch` changes whenever the cookies made before must end."""

    model_config = ConfigDict(extra="forbid")

    role: str
    password: str
    epoch: str
    made: float


class _Book(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    first_code: str = ""
    """SHA-256 of the code that sets the operator's password; empty when it was used."""
    accounts: dict[str, Account] = {}
    ended: dict[str, float] = {}
    """Logins that were logged out, and when; kept until their cookie is too old in any case."""


def tidy_code(code: str) -> str:
    """A code as it was made: people write it in small letters, with spaces or without the dashes."""
    return re.sub(r"[\s-]", "", code).upper()


class Accounts:
    """Who there is. Every method raises `StoreError` when the file cannot be read or written."""

    def __init__(
        self, folder: Path, passwords: Passwords | None = None, clock: ForwardClock | None = None
    ) -> None:
        self._clock = clock or ForwardClock()
        self._file = PrivateFile(folder / "accounts.json", _Book)
        self._passwords = passwords or Passwords()
        self._code = ""

    def has_operator(self) -> bool:
        """Whether the operator has set a password."""
        return OPERATOR in self._file.read().accounts

    def names(self) -> dict[str, str]:
        """Name and role of every account, the operator first."""
        accounts = self._file.read().accounts
        return {
            name: accounts[name].role for name in sorted(accounts, key=lambda name: (name != OPERATOR, name))
        }

    def new_first_code(self) -> str:
        """A code to set the operator's password with, once. One that was made before is void."""
        code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
        with self._file.changed() as book:
            book.first_code = _digest(code)
        self._code = code
        return _in_groups(code)

    def first_code(self) -> str | None:
        """The first code that this object made, None when it made none or the code is void."""
        expected = self._file.read().first_code
        is_valid = bool(expected) and hmac.compare_digest(_digest(self._code), expected)
        return _in_groups(self._code) if is_valid else None

    def reset(self) -> str:
        """Forget the operator's password and end the operator's logins; returns the new first code.

        A file that is damaged is set aside: then nobody could log in any more.
        """
        self._file.set_aside()
        with self._file.changed() as book:
            book.accounts.pop(OPERATOR, None)
        return self.new_first_code()

    def claim(self, code: str, password: str) -> bool:
        """Set the operator's password with the first code, which is void then; False for a wrong code."""
        expected = self._file.read().first_code
        if not expected or not hmac.compare_digest(_digest(tidy_code(code)), expected):
            self._passwords.fits(None, password)
            return False
        kept = self._passwords.hashed(password)
        with self._file.changed() as book:
            if book.first_code != expected:
                return False  # somebody else was faster
            book.first_code = ""
            book.accounts[OPERATOR] = _account(OPERATOR, kept)
        return True

    def check(self, name: str, password: str) -> bool:
        """Whether this is the password of an account; takes as long for a name that is not known."""
        account = self._file.read().accounts.get(name)
        return self._passwords.fits(account.password if account else None, password)

    def add_viewer(self, name: str, password: str) -> None:
        """Make an account that may watch; raises `AccessError` for a name that is taken or not one."""
        if not _NAME.fullmatch(name):
            raise AccessError(
                "expected 1 to 32 small letters, digits, dots, dashes, as in anna", key="name", value=name
            )
        kept = self._passwords.hashed(password)
        with self._file.changed() as book:
            if name in book.accounts or name == OPERATOR:
                raise AccessError(
                    "there is such an account already; choose another name", key="name", value=name
                )
            if len(book.accounts) >= MOST_VIEWERS:
                raise AccessError(f"{MOST_VIEWERS} accounts are the limit; remove one first")
            book.accounts[name] = _account("viewer", kept)

    def set_password(self, name: str, password: str) -> None:
        """Change a password; every login made with the old one ends."""
        kept = self._passwords.hashed(password)
        with self._file.changed() as book:
            known = _known(book, name)
            known.password, known.epoch = kept, _epoch()

    def remove(self, name: str) -> None:
        """Remove a viewer; its logins end. The operator is never removed, only reset."""
        with self._file.changed() as book:
            if _known(book, name).role == OPERATOR:
                raise AccessError("the operator cannot be removed; `access reset` makes a new first code")
            del book.accounts[name]

    def end_logins(self, name: str) -> None:
        """Log an account out everywhere."""
        with self._file.changed() as book:
            _known(book, name).epoch = _epoch()

    def end_login(self, login: str, keep_s: float) -> None:
        """Log one login out. It is remembered for `keep_s` seconds, after which its cookie is void anyway."""
        now = self._clock.now()
        with self._file.changed() as book:
            book.ended = {one: when for one, when in book.ended.items() if now - when <= keep_s}
            book.ended[login] = now

    def last_logout(self) -> float:
        """Unix seconds of the newest logout that is remembered, 0 for none."""
        return max(self._file.read().ended.values(), default=0.0)

    def epoch(self, name: str) -> str:
        """The epoch of an account's logins, empty for a name that is not known."""
        account = self._file.read().accounts.get(name)
        return account.epoch if account else ""

    def role_of(self, name: str, epoch: str, login: str) -> str:
        """The role of a login, empty when it has ended: logged out, password changed, account removed."""
        book = self._file.read()
        account = book.accounts.get(name)
        if account is None or not hmac.compare_digest(account.epoch, epoch) or login in book.ended:
            return ""
        return account.role


def _in_groups(code: str) -> str:
    return "-".join(code[at : at + 4] for at in range(0, CODE_LENGTH, 4))


def _known(book: _Book, name: str) -> Account:
    if name not in book.accounts:
        known = ", ".join(sorted(book.accounts)) or "none yet"
        raise AccessError(f"there is no such account; known: {known}", key="name", value=name)
    return book.accounts[name]


def _account(role: str, kept: str) -> Account:
    return Account(role=role, password=kept, epoch=_epoch(), made=time.time())


def _epoch() -> str:
    return secrets.token_hex(8)  # random, so that an account made anew never revives old cookies


def _digest(code: str) -> str:
    return hashlib.sha256(code.encode()).hexdigest()
