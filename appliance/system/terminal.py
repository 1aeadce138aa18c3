"""Text for a terminal or a log: characters that would steer it, or turn the order of words, are escaped."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import TextIO, cast

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape(text: str, keep: str = "") -> str:
    r"""The text with C0, C1, DEL, separators of lines and marks of direction as \uXXXX, save those to `keep`.

    The form is also JSON's own: a JSON document means the same afterwards.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


class Formatter(logging.Formatter):
    """One line an entry, whatever the message holds; only tracebacks have further lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        return escape(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The whole entry."""
        return escape(super().format(record), keep="\n\t")


class _Escaping:
    """A text stream on which controls are escaped. What is written to its `buffer` is not touched."""

    def __init__(self, stream: TextIO, keep: str) -> None:
        self._stream, self._keep = stream, keep

    def write(self, text: str) -> int:
        self._stream.write(escape(text, self._keep))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Within the block nothing that is printed steers the terminal; progress bars keep the return."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    out, errors = _Escaping(sys.stdout, "\n\t"), _Escaping(sys.stderr, "\n\t\r")
    with contextlib.redirect_stdout(cast(TextIO, out)), contextlib.redirect_stderr(cast(TextIO, errors)):
        yield


def say(text: str) -> None:
    """Print exactly one line, whatever names and notes it holds."""
    print(escape(text))
