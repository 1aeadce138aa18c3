"""Tokens for scripts: shown once, stored as hashes, each with a name and a role."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import threading
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from appliance.auth.accounts import NAME_PATTERN
from appliance.auth.files import PrivateFile
from appliance.errors import AccessConflict, AccessError, StoreError, UnknownName

ROLES = ("viewer", "operator", "metrics", "analyze")
PREFIX = "ig_"  # lets secret scanners recognise one
SECRET_BYTES = 32
MOST_TOKENS = 100
USED_EVERY_S = 3600.0
"""Resolution of the last use: a write for each request would wear out the card."""

_log = logging.getLogger("appliance.access")


class Token(BaseModel):
    """One token. Times are Unix seconds; `used` is up to an hour old, 0 for never."""

    model_config = ConfigDict(extra="forbid")

    digest: str
    role: str
    made: float
    used: float = 0.0


class _Content(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: int = 1
    tokens: dict[str, Token] = {}


class Tokens:
    """The tokens of this device. Every method raises `StoreError` if the file cannot be read or written."""

    def __init__(self, folder: Path) -> None:
        self._file = PrivateFile(folder / "tokens.json", _Content)
        self._lock = threading.Lock()
        self._noted: dict[str, float] = {}

    def all(self) -> dict[str, Token]:
        """Every token by name."""
        return dict(sorted(self._file.read().tokens.items()))

    def create(self, name: str, role: str) -> str:
        """Create a token and return its secret, which cannot be shown again; raises `AccessError`."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise AccessError(
                "expected 1 to 32 lower-case letters, digits, dots, dashes, such as backup",
                key="name",
                value=name,
            )
        if role not in ROLES:
            raise AccessError(f"expected one of {', '.join(ROLES)}", key="role", value=role)
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        with self._file.edit() as content:
            if name in content.tokens:
                raise AccessConflict(
                    "a token with this name already exists; revoke it first or choose another name",
                    key="name",
                    value=name,
                )
            if len(content.tokens) >= MOST_TOKENS:
                raise AccessConflict(f"{MOST_TOKENS} tokens are the limit; revoke one first")
            content.tokens[name] = Token(digest=digest_of(secret), role=role, made=time.time())
        return secret

    def revoke(self, name: str) -> None:
        """Revoke a token; raises `AccessError` if it does not exist."""
        with self._file.edit() as content:
            if content.tokens.pop(name, None) is None:
                known = ", ".join(sorted(content.tokens)) or "none"
                raise UnknownName(f"no token has this name; existing tokens: {known}", key="name", value=name)

    def find(self, secret: str) -> tuple[str, str] | None:
        """The name and role of the token with this secret; None for any other text."""
        # The secret has 256 random bits and is hashed: the time of the search reveals nothing useful.
        digest = digest_of(secret)
        for name, token in self._file.read().tokens.items():
            if token.digest == digest:
                self._note_use(name, token.used)
                return name, token.role
        return None

    def role_of(self, name: str, digest: str) -> str:
        """The role of a token by name and digest; empty once revoked, even if its name is used again."""
        token = self._file.read().tokens.get(name)
        return token.role if token and token.digest == digest else ""

    def _note_use(self, name: str, used: float) -> None:
        now = time.time()
        with self._lock:
            if abs(now - max(used, self._noted.get(name, 0.0))) < USED_EVERY_S:
                return
            self._noted[name] = now
        try:
            with self._file.edit() as content:
                if name in content.tokens:
                    content.tokens[name].used = now
        except StoreError as error:  # a full disk is no reason to refuse a token
            _log.warning("the last use of token %s was not recorded: %s", name, error)


def digest_of(secret: str) -> str:
    """The form in which a token is stored: its SHA-256 in hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()
