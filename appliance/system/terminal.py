"""Escapes control characters and text direction marks, for terminals and logs."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import sys
from collections.abc import Iterator
from typing import TextIO, cast

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def escape_controls(text: str, keep: str = "") -> str:
    r"""Write C0, C1, DEL, line separators and direction marks as \uXXXX, except those in `keep`.

    JSON uses the same form, so a JSON document keeps its meaning.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else f"\\u{ord(found[0]):04x}", text)


class EscapingFormatter(logging.Formatter):
    """One line for each entry, whatever the message contains; only tracebacks have more lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without a traceback."""
        return escape_controls(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """The complete entry."""
        return escape_controls(super().format(record), keep="\n\t")


class _EscapingStream:
    """A text stream that escapes control characters. Writes to its `buffer` pass unchanged."""

    def __init__(self, stream: TextIO, keep: str) -> None:
        self._stream, self._keep = stream, keep

    def write(self, text: str) -> int:
        self._stream.write(escape_controls(text, self._keep))
        return len(text)

    def writelines(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


@contextlib.contextmanager
def escaped_output() -> Iterator[None]:
    """Within the block, printed text cannot control the terminal; progress bars keep carriage returns."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names need not be text
    out, errors = _EscapingStream(sys.stdout, "\n\t"), _EscapingStream(sys.stderr, "\n\t\r")
    with contextlib.redirect_stdout(cast(TextIO, out)), contextlib.redirect_stderr(cast(TextIO, errors)):
        yield


def print_line(text: str) -> None:
    """Print exactly one line, whatever names and notes it contains."""
    print(escape_controls(text))
