"""Reads TOML files and values, with errors that name file and position, and writes tables as TOML."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tomli_w

from appliance.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises `ConfigError` if it cannot be read or parsed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot be read ({error.strerror}); expected a TOML file", file=str(path)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text; expected a TOML file", file=str(path)) from error
    except (ValueError, RecursionError) as error:  # the parser's own error is a ValueError
        raise ConfigError(f"is not valid TOML: {error}; correct that line", file=str(path)) from error


def parse_toml_value(text: str) -> Any:
    """The value of a text in TOML syntax; other text is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def dump_toml(tables: dict[str, Any]) -> str:
    """Tables as the text of a TOML file."""
    return tomli_w.dumps(tables)
