"""A backup: one file, encrypted with a passphrase. Its header is plain text: the time and the session ids.

scrypt derives the key from the passphrase. AES-256-GCM encrypts a zlib stream of JSON lines, each with a
table's name and a row, and also authenticates the header, so it cannot be changed.
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

from appliance.errors import ConfigError, StoreError

MAGIC = b"interview-grader backup 1\n"
SHORTEST_PASSPHRASE = 8

_SALT_BYTES, _NONCE_BYTES = 16, 12
_COST = 2**15  # 32 MiB: a Raspberry Pi has them once, an attacker needs them for each guess
_LONGEST_HEADER = 16 * 2**20
_SLICE = 65536

Row = tuple[str, dict[str, Any]]
"""A table's name and one of its rows, by column."""


def seal(rows: Iterable[Row], about: dict[str, Any], passphrase: str) -> bytes:
    """The content of a backup file. `about` goes into the plain header; its `ids` must be in it."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise ConfigError(
            f"the passphrase has {len(passphrase)} characters; expected at least {SHORTEST_PASSPHRASE}"
        )
    from appliance.records.encryption import encrypt  # slow to load, and rarely needed

    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    header = {**about, "salt": _text(salt), "nonce": _text(nonce), "cost": _COST}
    head = MAGIC + json.dumps(header, sort_keys=True).encode() + b"\n"
    packer, parts = zlib.compressobj(), []
    for table, row in rows:
        parts.append(packer.compress(json.dumps([table, row]).encode() + b"\n"))
    parts.append(packer.flush())
    return head + encrypt(b"".join(parts), head, passphrase, salt, nonce, _COST)


def unseal(content: bytes, passphrase: str, name: str) -> tuple[dict[str, Any], Callable[[], Iterator[Row]]]:
    """The header of the backup file `name` and a function that yields its rows.

    Raises `ConfigError` and `StoreError`.
    """
    header = parse_header(content)
    if header is None:
        raise ConfigError(
            "this is not a backup of this appliance, or its header is damaged; choose another file",
            key="restore",
            value=name,
        )
    from appliance.records.encryption import decrypt  # slow to load, and rarely needed

    start = content.index(b"\n", len(MAGIC)) + 1
    salt, nonce = base64.b64decode(header["salt"]), base64.b64decode(header["nonce"])
    try:
        packed = decrypt(content[start:], content[:start], passphrase, salt, nonce, header["cost"])
    except ValueError as error:
        raise ConfigError(
            "the passphrase is wrong, or the file is damaged; try again, or use another backup",
            key="restore",
            value=name,
        ) from error
    return header, partial(_rows, packed, name)


def parse_header(content: bytes) -> dict[str, Any] | None:
    """The plain header; None if this is not a backup."""
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
        raise StoreError(f"{name}: the backup ends in the middle of a row; use another one")


def _row(line: bytes, name: str) -> Row:
    try:
        table, row = json.loads(line)
    except (ValueError, TypeError, RecursionError):
        table = row = None
    if not isinstance(table, str) or not isinstance(row, dict):
        raise ConfigError(
            "the backup has a line that is not a row; nothing was restored; use another backup",
            key="restore",
            value=name,
        )
    return table, row


def _unpacked(unpacker: Any, piece: bytes, name: str) -> bytes:
    try:
        return bytes(unpacker.decompress(piece))
    except zlib.error as error:  # it was encrypted like this: a bug of the appliance
        raise StoreError(
            f"{name}: the content of the backup is damaged ({error}); use another one"
        ) from error


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**40  # seconds


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
