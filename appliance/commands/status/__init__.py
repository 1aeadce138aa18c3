"""The command `status`: shows what the running daemon reports about itself."""

from __future__ import annotations

import argparse

from appliance.commands.arguments import (
    FAULT,
    Commands,
    config_options,
    find_state_dir,
    load_config_without_state,
)


def add_commands(commands: Commands) -> None:
    """Add `status`."""
    parser = commands.add_parser(
        "status", parents=[config_options()], help="show whether it runs, its address and its health"
    )
    parser.add_argument("--json", action="store_true", help="write one JSON object, for programs")
    parser.add_argument("--host", help="the --host of run; used if its state cannot be read")
    parser.add_argument("--port", help="the --port of run; used if its state cannot be read")
    parser.set_defaults(function=_status)


def _status(options: argparse.Namespace) -> int:
    from appliance.commands.status.device import device_status, is_healthy, lines

    status = device_status(find_state_dir(options), lambda: load_config_without_state(options))
    if options.json:
        print(status.model_dump_json(by_alias=True))
    else:
        for line in lines(status):
            print(line)
    return 0 if is_healthy(status) else FAULT
