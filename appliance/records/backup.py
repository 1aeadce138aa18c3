"""A backup: one file, sealed with a passphrase. Its header is plain: when, and the ids of the sessions in it.

The key comes from the passphrase by scrypt; what is sealed with AES-256-GCM is a zlib stream of JSON lines,
a table's name and a row each. The header is authenticated too, so it cannot be changed.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from appliance.errors import ConfigError, StoreError

MAGIC = b"interview-grader backup 1\n"
SHORTEST_PASSPHRASE = 8

_SALT_BYTES, _NONCE_BYTES, _KEY_BYTES = 16, 12, 32
_COST, _BLOCK, _LANES = 2**15, 8, 1  # 32 MiB for a moment: a Raspberry Pi can, a guesser must every time
_LONGEST_HEADER = 16 * 2**20
_SLICE = 65536

Row = tuple[str, dict[str, Any]]
"""A table's name, and a row of it by column."""


def seal(rows: Iterable[Row], about: dict[str, Any], passphrase: str) -> bytes:
    """The content of a backup file. `about` goes into the plain header; its `ids` must be in it."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise ConfigError(
            f"the passphrase has {len(passphrase)} characters; expected {SHORTEST_PASSPHRASE} at least"
        )
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    header = {**about, "salt": _text(salt), "nonce": _text(nonce), "cost": _COST}
    head = MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n"
    packer, parts = zlib.compressobj(), []
    for table, row in rows:
        parts.append(packer.compress(json.dumps([table, row]).encode() + b"\n"))
    parts.append(packer.flush())
    return head + AESGCM(_key(passphrase, salt, _COST)).encrypt(nonce, b"".join(parts), head)


def unseal(content: bytes, passphrase: str, name: str) -> tuple[dict[str, Any], Callable[[], Iterator[Row]]]:
    """Header of a backup file called `name`, and what gives its rows; raises `ConfigError`, `StoreError`."""
    header = parse_header(content)
    if header is None:
        raise ConfigError(
            "not a backup of this appliance, or its beginning is damaged", key="restore", value=name
        )
    start = content.index(b"\n", len(MAGIC)) + 1
    key = _key(passphrase, base64.b64decode(header["salt"]), header["cost"])
    nonce = base64.b64decode(header["nonce"])
    try:
        packed = AESGCM(key).decrypt(nonce, content[start:], content[:start])
    except (InvalidTag, ValueError) as error:
        raise ConfigError(
            "the passphrase is wrong, or the file is damaged; try again, or take another backup",
            key="restore",
            value=name,
        ) from error
    return header, partial(_rows, packed, name)


def parse_header(content: bytes) -> dict[str, Any] | None:
    """The plain header, None if it is no backup's."""
    if not content.startswith(MAGIC):
        return None
    try:
        header = json.loads(content[len(MAGIC) :].split(b"\n", 1)[0])
        sound = (
            isinstance(header["ids"], list)
            and header["cost"] in (2**14, 2**15, 2**16, 2**17)
            and len(base64.b64decode(header["salt"], validate=True)) == _SALT_BYTES
            and len(base64.b64decode(header["nonce"], validate=True)) == _NONCE_BYTES
            and all(_is_number(header[name]) for name in ("made", "lived"))
            and b"\n" in content[len(MAGIC) :]
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return header if sound else None


def read_header(path: Path) -> dict[str, Any] | None:
    """The plain header of a backup file; None for any other file. Raises `OSError`."""
    with path.open("rb") as file:
        return parse_header(file.read(len(MAGIC)) + file.readline(_LONGEST_HEADER))


def _rows(packed: bytes, name: str) -> Iterator[Row]:
    unpacker, rest = zlib.decompressobj(), b""
    for start in range(0, len(packed), _SLICE):
        *lines, rest = (rest + _unpacked(unpacker, packed[start : start + _SLICE], name)).split(b"\n")
        for line in lines:
            yield _row(line, name)
    if rest or not unpacker.eof:
        raise StoreError(f"{name}: the backup is sealed but ends within a row; take another one")


def _row(line: bytes, name: str) -> Row:
    try:
        table, row = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        table = row = None
    if not isinstance(table, str) or not isinstance(row, dict):
        raise ConfigError(
            "sealed, but a line of it is no row; nothing was restored; take another backup",
            key="restore",
            value=name,
        )
    return table, row


def _unpacked(unpacker: Any, piece: bytes, name: str) -> bytes:
    try:
        return bytes(unpacker.decompress(piece))
    except zlib.error as error:  # sealed like this: a fault of ours
        raise StoreError(f"{name}: the backup is sealed but not sound ({error}); take another one") from error


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**40  # of seconds


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, _KEY_BYTES, cost, _BLOCK, _LANES).derive(passphrase.encode())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
