"""Text that a terminal shows and does not obey."""

from __future__ import annotations

import unicodedata

_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They change the order in which what stands beside them is shown."""


def printable(text: str, kept: str = "\n\t") -> str:
    """The text with every control character but those in `kept` written as an escape, such as `\\x1b`."""
    return "".join(letter if letter in kept or _is_plain(letter) else _escaped(letter) for letter in text)


def _is_plain(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cs") and letter not in _DIRECTIONS


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")
