"""The encryption of a backup: AES-256-GCM, with a key that scrypt derives from the passphrase.

`cost` is scrypt's number of rounds, a power of two; each takes 1 KiB of memory.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_KEY_BYTES, _BLOCK, _LANES = 32, 8, 1


def encrypt(data: bytes, head: bytes, passphrase: str, salt: bytes, nonce: bytes, cost: int) -> bytes:
    """Encrypt `data`; the result also authenticates `head`, which stays plain."""
    return AESGCM(_key(passphrase, salt, cost)).encrypt(nonce, data, head)


def decrypt(sealed: bytes, head: bytes, passphrase: str, salt: bytes, nonce: bytes, cost: int) -> bytes:
    """Reverse `encrypt`; raises `ValueError` for another passphrase, or if anything was changed."""
    try:
        return AESGCM(_key(passphrase, salt, cost)).decrypt(nonce, sealed, head)
    except InvalidTag as error:
        raise ValueError("the passphrase is wrong, or the data was changed") from error


def _key(passphrase: str, salt: bytes, cost: int) -> bytes:
    return Scrypt(salt, _KEY_BYTES, cost, _BLOCK, _LANES).derive(passphrase.encode())
