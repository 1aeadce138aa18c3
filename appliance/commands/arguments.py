"""Parsing of all command lines, the options that commands share, and what they load."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from appliance.configuration.layers import ConfigOptions
    from appliance.configuration.load import Config, RetentionConfig

PROGRAM = "interview-grader"

FAULT, USER_ERROR = 1, 2
"""Exit codes: something failed; the user must change something."""

Commands: TypeAlias = "argparse._SubParsersAction[Any]"  # it has no public name


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, and accepts no abbreviated options.

    Root's `interview-grader` also looks for some options by name: see provisioning/device/root_command.py.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Exits with 2."""
        self.exit(USER_ERROR, f"{PROGRAM}: {message}; see {self.prog} --help\n")


def state_options() -> Parser:
    """The options of commands that need no settings, for `parents`."""
    parser = Parser(add_help=False)
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="state directory")
    parser.add_argument("--debug", action="store_true", help="log more and show tracebacks")
    return parser


def config_options() -> Parser:
    """The options of commands that read the configuration, for `parents`."""
    parser = Parser(add_help=False, parents=[state_options()])
    parser.add_argument("--config", type=Path, metavar="FILE", help="use FILE and the config.d/ next to it")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change one setting"
    )
    return parser


def positive(text: str) -> int:
    """A whole number of at least 1, for `type`."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number of at least 1")
    return int(text)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add `--jobs`, the number of processes that read; None if it is not given."""
    parser.add_argument(
        "--jobs",
        type=positive,
        metavar="N",
        help="read in N processes, each with about 150 MB of memory (default: the number of cores)",
    )


def find_state_dir(options: argparse.Namespace) -> Path:
    """The state directory of a command with `state_options`."""
    from appliance.configuration.load import find_state_dir

    return find_state_dir(options.data_dir, os.environ)


def load_config(options: argparse.Namespace) -> Config:
    """The configuration of a command with `config_options`; raises `ConfigError`."""
    from appliance.configuration.load import load_config

    return load_config(_request(options))


def pass_config_on(options: argparse.Namespace, config: Config, *, state: bool = True) -> list[str]:
    """The options with which another command of this program loads the same configuration.

    Without those of `run` alone, and the state directory only if `state`.
    """
    words = [word for text in options.set for word in ("--set", text)]
    if options.config:
        words += ["--config", str(options.config)]
    return [*words, "--data-dir", str(config.state_dir)] if state else words


def load_config_without_state(options: argparse.Namespace) -> Config:
    """As `load_config`, for a user who may not read the state: its settings never include the address."""
    from appliance.configuration.load import load_config

    return load_config(replace(_request(options), data_dir=Path(os.devnull)))


def load_retention(options: argparse.Namespace) -> RetentionConfig:
    """The retention settings of a command with `config_options`; raises `ConfigError`."""
    from appliance.configuration.load import load_retention

    return load_retention(_request(options))


def _request(options: argparse.Namespace) -> ConfigOptions:
    from appliance.configuration.layers import ConfigOptions

    return ConfigOptions(
        config=options.config,
        data_dir=options.data_dir,
        settings=options.set,
        camera=getattr(options, "camera", None),
        host=getattr(options, "host", None),
        port=getattr(options, "port", None),
    )
