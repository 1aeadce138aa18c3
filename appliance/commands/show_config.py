"""The command `config`: prints the effective configuration, and where each value was set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from appliance.commands.arguments import Commands, config_options, load_config

if TYPE_CHECKING:
    from appliance.configuration.load import Config


def add_commands(commands: Commands) -> None:
    """Add `config`."""
    parser = commands.add_parser(
        "config", parents=[config_options()], help="print all settings, and where each was set"
    )
    parser.add_argument("--changed", action="store_true", help="show only settings that were set")
    parser.set_defaults(function=_show)


def _show(options: argparse.Namespace) -> int:
    for line in config_lines(load_config(options), changed=options.changed):
        print(line)
    return 0


def config_lines(config: Config, *, changed: bool) -> Iterator[str]:
    """TOML lines, each with the place where its value was set; with `changed`, only values set somewhere."""
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
    # Strings, numbers, booleans and lists are the same in JSON and TOML, but for one character.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
