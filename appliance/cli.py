"""The command line: all commands, errors as one line, exit codes."""

from __future__ import annotations

import contextlib
import logging
import os
import sys

from appliance import __version__
from appliance.commands import access, analyze, bench, check, evaluate, records, run, show_config, status
from appliance.commands.arguments import FAULT, PROGRAM, USER_ERROR, Parser
from appliance.errors import ApplianceError, ConfigError, ConfigErrors, ModelError
from appliance.system import native, terminal
from appliance.system.logging import make_handlers

COMMANDS = (run, analyze, evaluate, check, status, show_config, bench, access, records)
"""Every command, in the order of --help: `access` also adds `token`, `records` adds `sessions`, `backup`,
`restore` and `audit`. They import slow modules only when they run."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns 0 when done, 1 for a fault, 2 when the user must change something."""
    native.prepare()
    has_output = native.open_streams()
    with terminal.escaped_output():
        return _main(arguments, has_output)


def _main(arguments: list[str] | None, has_output: bool) -> int:
    options = make_parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.INFO,
        handlers=make_handlers(os.environ),
    )
    if options.command not in ("run", "check"):
        logging.getLogger("appliance").setLevel(logging.WARNING)
    try:
        if not has_output and options.command != "run":
            raise ConfigError("standard output is closed; redirect it to a file or to /dev/null")
        code = int(options.function(options))
        sys.stdout.flush()  # a full disk must show here, not at exit
        return code
    except ApplianceError as error:
        if options.debug:
            raise
        _print_error(error)
        return USER_ERROR if isinstance(error, (ConfigError, ModelError)) else FAULT
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_output()  # its reader is gone
        return 0
    except OSError as error:
        if options.debug:
            raise
        _abandon_output()
        fault = f"{error.filename}: cannot be read or written ({error.strerror})" if error.filename else error
        print(f"{PROGRAM}: {fault}; free some disk space or correct the path, and try again", file=sys.stderr)
        return FAULT


def _abandon_output() -> None:
    """Drop buffered output: Python would try to write it again at exit, and report an error."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(error: ApplianceError) -> None:
    problems = error.problems if isinstance(error, ConfigErrors) else [error]
    for problem in problems:
        print(f"{PROGRAM}: {' '.join(str(problem).split())}", file=sys.stderr)


def make_parser() -> Parser:
    """The parser for all commands."""
    parser = Parser(
        prog=PROGRAM, description="Reads facial expressions on the device and shows them on a live page."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add_commands(commands)
    return parser
