"""How every command line of the appliance is parsed."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

PROGRAM = "interview-grader"

USER = 2
"""Exit code: the user must change something."""


class Parser(argparse.ArgumentParser):
    """Reports a mistake in one line, and takes no abbreviated options.

    Root's `interview-grader` itself looks for some options by name: see provisioning/device/root_command.py.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Exits with 2."""
        self.exit(USER, f"{PROGRAM}: {message}; see {self.prog} --help\n")
