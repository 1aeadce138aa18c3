"""CSV files of the owner's, and the list of what is wrong with them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path, PurePath

from appliance.errors import ConfigError, ConfigErrors

_MOST_PROBLEMS = 20


class Problems:
    """What is wrong with one input, collected so that all of it is said at once."""

    def __init__(self, file: Path) -> None:
        self._file = str(file)
        self._found: list[ConfigError] = []

    def add(self, text: str) -> None:
        """One more, in the words of `errors`: value, what was expected, next step."""
        self._found.append(ConfigError(text, file=self._file))

    def raise_any(self) -> None:
        """Raises `ConfigErrors` when there are any; of very many only the first, and how many more."""
        shown = self._found[:_MOST_PROBLEMS]
        if more := len(self._found) - len(shown):
            shown.append(ConfigError(f"{more} more of this kind; correct the file", file=self._file))
        if shown:
            raise ConfigErrors(shown)


def read_text(path: Path) -> str:
    """A text file, without the mark that some programs begin one with; raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror}); expected a text file", file=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text; save it as CSV or JSON in UTF-8", file=str(path)) from error


def read_rows(path: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file, each with the number of its line; further columns are ignored.

    Raises `ConfigError` when a column is missing, `ConfigErrors` when a row has too few or too many values.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    problems = Problems(path)
    rows = []
    try:
        header = list(reader.fieldnames or [])
        if missing := [name for name in columns if name not in header]:
            raise ConfigError(
                f"columns {','.join(header) or 'none'}: {', '.join(missing)} missing; expected a first line"
                f" {','.join(columns)}, with commas",
                file=str(path),
            )
        for row in reader:
            if None in row or any(row[name] is None for name in columns):
                problems.add(
                    f"line {reader.line_num}: expected {len(header)} values with commas; correct the line"
                )
            else:
                rows.append((reader.line_num, {name: row[name].strip() for name in columns}))
    except csv.Error as error:
        raise ConfigError(f"line {reader.line_num}: {error}; expected CSV", file=str(path)) from error
    problems.raise_any()
    if not rows:
        raise ConfigError("no line but the first; expected one for each picture", file=str(path))
    return rows


def path_fault(text: str) -> str | None:
    """Why this cannot be a path inside a data set, or None when it can."""
    if not text:
        return "no path; name a picture"
    if "\0" in text:
        return "a path with a zero byte; name a picture"
    if PurePath(text).is_absolute():
        return f"path {text}: is absolute; expected one relative to the folder of this file"
    return None
