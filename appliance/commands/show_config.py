"""The effective configuration as text: what `config` prints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from appliance.configuration.load import Config


def lines(config: Config, *, changed: bool) -> Iterator[str]:
    """TOML lines, each with where its value was set; only those set somewhere when `changed`."""
    for section, table in config.effective().items():
        shown = [
            f"{f'{key} = {_toml(value)}':<40} # {config.origins.get(f'{section}.{key}', 'default')}"
            for key, value in table.items()
            if not changed or f"{section}.{key}" in config.origins
        ]
        if shown:
            yield f"[{section}]"
            yield from shown
            yield ""


def _toml(value: Any) -> str:
    # JSON's strings, numbers, booleans and lists are TOML's, but for one character.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
